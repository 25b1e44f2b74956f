"""A family of processes that all do HTTP: PORT of a server on loopback, WORKERS, REQUESTS of each, STATUS,
GATE.

Each worker forks a child that sends one request and ends at once, and executes another python that sends one too; the
parent sends one itself, after all workers have ended and the file GATE has come. The last line is the number of
responses read by the whole family, by its own count. It then ends with STATUS.
"""

import http.client
import os
import subprocess
import sys
import time

port, workers, requests, status = (int(argument) for argument in sys.argv[1:5])


def get(path):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status == 200


def in_child(work):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"%d" % work())
        os._exit(0)
    os.close(writer)
    done = int(os.read(reader, 16))
    os.close(reader)
    os.waitpid(pid, 0)
    return done


PROGRAM = "import http.client as h; c = h.HTTPConnection('127.0.0.1', %d); c.request('GET', '/items/3'); print(int(c.getresponse().read() != b''))"


def worker():
    done = sum(get("/items/1") for _ in range(requests))
    done += in_child(lambda: get("/items/2"))
    done += int(subprocess.run([sys.executable, "-c", PROGRAM % port], stdout=subprocess.PIPE).stdout)
    return done


total = sum(in_child(worker) for _ in range(workers))
while not os.path.exists(sys.argv[5]):
    time.sleep(0.005)
total += get("/items/4")
# The server's write returns a moment after its response was read.
time.sleep(0.2)
print(total)
sys.exit(status)

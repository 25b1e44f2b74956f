"""Ways to hold an event loop, as mistakes do. Each says on stdout from when to when, on the monotonic clock, and what
the kernel's scheduler says of the thread in between: time on the CPU and time in the run queue.

In comes the name of a way and for how long, out goes a line `held KIND START END ON_CPU RUN_QUEUE`, all in ns.
Environment: STALLS_DIR for files, STALLS_MYSQL_PORT.
"""

import fcntl
import gc
import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time


def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def peer(listener):
    """Answers each connection, in HTTP, after as many milliseconds as the first number that it is sent."""
    while True:
        connection, _ = listener.accept()
        time.sleep(int(re.search(rb"\d+", connection.recv(4096))[0]) / 1000)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        connection.close()


PEER = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=peer, args=(PEER,), daemon=True).start()


def receive(seconds):
    with socket.create_connection(PEER.getsockname()) as connection:
        connection.send(b"%d" % (seconds * 1000))
        connection.recv(1)


def get(seconds):
    import requests

    requests.get(f"http://127.0.0.1:{PEER.getsockname()[1]}/{seconds * 1000:.0f}", timeout=60)


MYSQL = []


def mysql():
    """The connection, opened when it is first needed."""
    if not MYSQL:
        import pymysql

        port = int(os.environ["STALLS_MYSQL_PORT"])
        MYSQL.append(pymysql.connect(host="127.0.0.1", port=port, user="app", password="app-pass", database="shop"))
    return MYSQL[0].cursor()


def query(seconds):
    mysql().execute(f"SELECT SLEEP({seconds})")


def queries(seconds):
    """Three hundred small ones, which is what a list with a query for each of its entries does."""
    cursor = mysql()
    for item in range(300):
        cursor.execute(f"SELECT name, SLEEP({seconds / 300}) FROM items WHERE id = {item % 10 + 1}")


UNIT = json.dumps([{"id": n, "name": f"item {n}", "tags": ["a", "b"], "price": n / 7} for n in range(200)])


def document(seconds):
    """Reads a document that takes so long."""
    begun = time.thread_time()
    json.loads(UNIT)
    units = int(seconds / max(time.thread_time() - begun, 1e-6)) + 1
    text = "[" + ",".join([UNIT] * units) + "]"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        json.loads(text)


def collect(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(20_000):
            cycle = []
            cycle.append(cycle)
        gc.collect()


def sync(seconds):
    until = time.monotonic() + seconds
    with open(os.path.join(os.environ["STALLS_DIR"], "synced"), "wb", buffering=0) as file:
        while time.monotonic() < until:
            file.write(b"x" * 4096)
            os.fsync(file.fileno())


def lock(seconds):
    """Waits for a file's lock, which a thread holds for so long."""
    path, held = os.path.join(os.environ["STALLS_DIR"], "locked"), threading.Event()

    def hold():
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            held.set()
            time.sleep(seconds)

    threading.Thread(target=hold).start()
    held.wait()
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def child(seconds):
    subprocess.run(["sleep", str(seconds)], check=True)


def nested(seconds):
    """Waits on another epoll set than the loop's."""
    reader, writer = os.pipe()
    with select.epoll() as other:
        other.register(reader, select.EPOLLIN)
        other.poll(seconds)
    os.close(reader)
    os.close(writer)


WAYS = {
    "sleep": time.sleep,
    "spin": spin,
    "receive": receive,
    "requests": get,
    "query": query,
    "queries": queries,
    "json": document,
    "gc": collect,
    "fsync": sync,
    "flock": lock,
    "subprocess": child,
    "nested": nested,
}


def scheduled():
    """The thread's time on the CPU and in the run queue so far, ns."""
    with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:
        return [int(number) for number in file.read().split()[:2]]


def hold(kind, seconds):
    before, start = scheduled(), time.monotonic_ns()
    WAYS[kind](seconds)
    end, after = time.monotonic_ns(), scheduled()
    sys.stdout.write(f"held {kind} {start} {end} {after[0] - before[0]} {after[1] - before[1]}\n")
    sys.stdout.flush()

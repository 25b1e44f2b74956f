"""A program that waits with epoll and serves nobody: it takes work from a pipe and from a connection that it has opened
to PORT, and computes or sleeps between two waits for as long as the work says. Usage: batch.py PORT ROUNDS.
"""

import os
import selectors
import socket
import sys
import time


def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


reader, writer = os.pipe()
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
work = selectors.EpollSelector()
work.register(reader, selectors.EVENT_READ, spin)
work.register(connection, selectors.EVENT_READ, time.sleep)
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    if number % 2:
        os.write(writer, b"x")
    else:
        connection.send(b"GET /delay/20 HTTP/1.1\r\nHost: test\r\n\r\n")
    for key, _ in work.select():
        os.read(key.fd, 65536)
        key.data(0.2)

"""Processes with a loop each that stalls without end: a set with an accepted connection, and a turn that sleeps.
Usage: many_loops.py PROCESSES MILLISECONDS
"""

import os
import select
import signal
import socket
import sys
import time


def stall(seconds):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    events = select.epoll()
    events.register(server, select.EPOLLIN)
    while True:
        client.send(b"x")
        events.poll()
        server.recv(1)
        time.sleep(seconds)


ENDS = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
children = []
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        stall(int(sys.argv[2]) / 1000)
    children.append(child)
print("ready", flush=True)
signal.sigwait(ENDS)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

"""Handlers that hold the event loop, as mistakes do; each says on stdout from when to when, on the monotonic clock.

An ASGI app without a framework, so that little else happens in a turn: /KIND/MILLISECONDS.
"""

import asyncio
import socket
import sys
import threading
import time

import stall_causes


def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def peer(listener):
    """Answers each connection after as many milliseconds as it asks for."""
    while True:
        connection, _ = listener.accept()
        time.sleep(int(connection.recv(20)) / 1000)
        connection.send(b"!")
        connection.close()


PEER = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=peer, args=(PEER,), daemon=True).start()


def receive_blocking(seconds):
    with socket.create_connection(PEER.getsockname()) as connection:
        connection.send(b"%d" % (seconds * 1000))
        connection.recv(1)


async def patient(seconds):
    await asyncio.sleep(seconds)


HOLDS = stall_causes.WAYS | {"sleep": time.sleep, "spin": spin, "receive": receive_blocking}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    _, kind, milliseconds = scope["path"].split("/")
    seconds = int(milliseconds) / 1000
    if kind in HOLDS:
        start = time.monotonic_ns()
        HOLDS[kind](seconds)
        sys.stdout.write(f"held {kind} {start} {time.monotonic_ns()}\n")
        sys.stdout.flush()
    else:
        await patient(seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

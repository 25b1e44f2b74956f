"""An ASGI app whose handlers hold the event loop at marked lines: /KIND/MILLISECONDS. A line's mark is its comment
`place: KIND`, by which tests find its number.
"""

import asyncio
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

LARGE = "[" + "1," * 5_000_000 + "1]"


def peer(listener):
    """Answers each connection after as many milliseconds as it asks for."""
    while True:
        connection, _ = listener.accept()
        time.sleep(int(connection.recv(20)) / 1000)
        connection.send(b"!")
        connection.close()


PEER = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=peer, args=(PEER,), daemon=True).start()


def add(numbers):
    return sum(numbers)


def double(numbers):
    return [2 * number for number in numbers]


def sleep(seconds):
    time.sleep(seconds)  # place: sleep


def cpu(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until: add(double(range(50)))  # place: cpu


def read(seconds):
    with socket.create_connection(PEER.getsockname()) as connection:
        connection.send(b"%d" % (seconds * 1000))
        connection.recv(1)  # place: read


def parse(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until: json.loads(LARGE)  # place: parse


def fsync(seconds):
    until = time.monotonic() + seconds
    with tempfile.TemporaryFile() as file:
        while time.monotonic() < until: os.fsync(os.write(file.fileno(), b"x") and file.fileno())  # place: fsync


def flock(seconds):
    """Waits for a file's lock, which another open file has for so long."""
    with tempfile.NamedTemporaryFile() as file, open(file.name) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        threading.Timer(seconds, fcntl.flock, args=(other, fcntl.LOCK_UN)).start()
        fcntl.flock(file, fcntl.LOCK_EX)  # place: flock


def child(seconds):
    subprocess.run(["sleep", str(seconds)], check=True)  # place: child


def decode_large(seconds):
    """Has the interpreter's lock for as long as each call lasts: it is C code."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        json.loads(LARGE)  # place: json


def become(seconds):
    time.sleep(seconds)
    os.execv("/bin/sleep", ["sleep", "60"])


def die(seconds):
    time.sleep(seconds)
    os._exit(0)


HOLDS = {hold.__name__: hold for hold in (sleep, cpu, read, parse, fsync, flock, child, become, die)}


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
        HOLDS[kind](seconds)
    elif kind == "json":
        await asyncio.to_thread(decode_large, seconds)
    else:
        await asyncio.sleep(seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


if __name__ == "__main__":
    # Without uvicorn, for any Python that has asyncio: a server of one handler.
    async def serve(port):
        async def handle(reader, writer):
            line = await reader.readline()
            while line:
                while (await reader.readline()).strip():
                    pass
                _, kind, milliseconds = line.split()[1].decode().split("/")
                if kind in HOLDS:
                    HOLDS[kind](int(milliseconds) / 1000)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
                line = await reader.readline()

        server = await asyncio.start_server(handle, "127.0.0.1", port)
        async with server:
            await server.serve_forever()

    asyncio.run(serve(int(sys.argv[1])))

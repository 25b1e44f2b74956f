"""Handlers that hold the event loop, as mistakes do; each says on stdout from when to when, on the monotonic clock.

An ASGI app without a framework, so that little else happens in a turn: /KIND/MILLISECONDS.
"""

import asyncio
import sys
import time


def spin(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def patient(seconds):
    await asyncio.sleep(seconds)


HOLDS = {"sleep": time.sleep, "spin": spin}


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

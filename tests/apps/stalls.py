"""An ASGI app whose handlers hold the event loop, or wait without holding it: /KIND/MILLISECONDS, with the kinds of
holds.py and stall_causes.py, `thread` for a thread that sleeps, and any other for a handler that waits as it should. No framework, so that
little else happens in a turn.
"""

import asyncio
import time

import holds
import stall_causes

holds.WAYS |= stall_causes.WAYS


async def patient(seconds):
    await asyncio.sleep(seconds)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    _, kind, milliseconds = scope["path"].split("/")
    seconds = int(milliseconds) / 1000
    if kind in holds.WAYS:
        holds.hold(kind, seconds)
    elif kind == "thread":
        await asyncio.to_thread(time.sleep, seconds)
    else:
        await patient(seconds)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})

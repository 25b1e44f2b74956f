"""stalls.py for aiohttp's own server. Usage: stalls_aiohttp.py PORT."""

import asyncio
import sys

from aiohttp import web

import holds


async def handle(request):
    kind, seconds = request.match_info["kind"], int(request.match_info["milliseconds"]) / 1000
    if kind in holds.WAYS:
        holds.hold(kind, seconds)
    else:
        await asyncio.sleep(seconds)
    return web.Response(text="ok")


app = web.Application()
app.router.add_get("/{kind}/{milliseconds}", handle)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)

"""The test service for ASGI servers (uvicorn): the routes that every app in this folder has."""

import asyncio
import time

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

app = FastAPI(openapi_url=None)


@app.get("/items/{id}")
async def items(id: str):
    return JSONResponse({"id": id, "name": f"item {id}"})


@app.post("/echo")
async def echo(request: Request):
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/bytes/{n}")
async def some_bytes(n: int):
    return Response(b"x" * n, media_type="application/octet-stream")


@app.get("/status/{code}")
async def status(code: int):
    return Response(status_code=code)


@app.get("/delay/{ms}")
async def delay(ms: int):
    await asyncio.sleep(ms / 1000)
    return Response("late")


@app.get("/block/{ms}")
async def block(ms: int):
    """Only here: holds the event loop, as a mistake would."""
    time.sleep(ms / 1000)
    return Response("late")


@app.get("/block/{ms}/{id}")
async def block_for(ms: int, id: str):
    """The same, to be told from others."""
    return await block(ms)


@app.get("/thread/{ms}")
def thread(ms: int):
    """Only here: no coroutine, so the framework runs it in a thread."""
    time.sleep(ms / 1000)
    return Response("late")


@app.get("/stream")
async def stream():
    async def chunks():
        for n in range(5):
            yield f"chunk {n}\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(chunks(), media_type="text/plain")


@app.get("/sse")
async def sse():
    async def events():
        for n in range(5):
            yield f"data: {n}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(events(), media_type="text/event-stream")

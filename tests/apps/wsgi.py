"""The test service for WSGI servers (gunicorn): the routes that every app in this folder has."""

import time

from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.get("/items/<id>")
def items(id):
    return jsonify(id=id, name=f"item {id}")


@app.post("/echo")
def echo():
    return Response(request.get_data(), mimetype="application/octet-stream")


@app.get("/bytes/<int:n>")
def some_bytes(n):
    return Response(b"x" * n, mimetype="application/octet-stream")


@app.get("/status/<int:code>")
def status(code):
    return Response(status=code)


@app.get("/delay/<int:ms>")
def delay(ms):
    time.sleep(ms / 1000)
    return Response("late")


@app.get("/stream")
def stream():
    def chunks():
        for n in range(5):
            yield f"chunk {n}\n"
            time.sleep(0.01)

    return Response(chunks(), mimetype="text/plain")


@app.get("/sse")
def sse():
    def events():
        for n in range(5):
            yield f"data: {n}\n\n"
            time.sleep(0.05)

    return Response(events(), mimetype="text/event-stream")

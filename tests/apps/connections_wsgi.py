"""A WSGI service with a query for each request, as an application on Django is one. Environment: MYSQL_PORT;
CONNECTIONS: `fresh` for a connection for each request, `kept` for one for each process, or the size of a pool.

Each answer tells by the service's own clock, in seconds, how long the request took it (`request`), and how much of that
it spent on connecting (`connect`) and on waiting for a connection of the pool (`wait`).
"""

import os
import queue
import time

import pymysql
from flask import Flask, jsonify

MODE = os.environ["CONNECTIONS"]
SIZE = int(MODE) if MODE.isdigit() else 0

app = Flask(__name__)
pool = queue.Queue()
kept = []


def connect():
    account = {"user": "app", "password": "app-pass", "database": "shop"}
    return pymysql.connect(host="127.0.0.1", port=int(os.environ["MYSQL_PORT"]), autocommit=True, **account)


@app.get("/items/<int:id>")
def items(id):
    return answer("SELECT name FROM items WHERE id = %s", id % 10 + 1)


@app.get("/slow/<int:ms>")
def slow(ms):
    return answer("SELECT SLEEP(%s)", ms / 1000)


def answer(sql, value):
    begun = time.monotonic()
    if SIZE:
        connection = pool.get()
    elif MODE == "kept" and kept:
        connection = kept[0]
    else:
        connection = connect()
    ready = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(sql, value)
        cursor.fetchall()
    if SIZE:
        pool.put(connection)
    elif MODE == "kept":
        kept[:] = [connection]
    else:
        connection.close()
    took = "wait" if SIZE else "connect"
    return jsonify({took: ready - begun, "request": time.monotonic() - begun})


for _ in range(SIZE):
    pool.put(connect())

"""A WSGI service with a query for each request, as an application on Django is one. Environment: MYSQL_PORT;
CONNECTIONS: `fresh` for a connection for each request, `kept` for one for each process, or the size of a pool.

Each answer tells by the service's own clock, in seconds, how long the request took it (`request`), and how much of that
it spent on signing in (`sign_in`: the socket's connect, and from the greeting to the server's OK) or on waiting for a
connection of the pool (`wait`).
"""

import os
import queue
import socket
import time

import pymysql
from flask import Flask, jsonify

MODE = os.environ["CONNECTIONS"]
SIZE = int(MODE) if MODE.isdigit() else 0

app = Flask(__name__)
pool = queue.Queue()
kept = []


class Timed(pymysql.connections.Connection):
    """Knows how long it took to sign in, without what the library does before and in between."""

    def _request_authentication(self):
        begun = time.monotonic()
        super()._request_authentication()
        self.seconds += time.monotonic() - begun


def connect():
    account = {"user": "app", "password": "app-pass", "database": "shop", "ssl_disabled": True}
    address = ("127.0.0.1", int(os.environ["MYSQL_PORT"]))
    connection = Timed(host=address[0], port=address[1], autocommit=True, defer_connect=True, **account)
    begun = time.monotonic()
    stream = socket.create_connection(address)
    connection.seconds = time.monotonic() - begun
    connection.connect(stream)
    return connection


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
    wait = time.monotonic() - begun
    with connection.cursor() as cursor:
        cursor.execute(sql, value)
        cursor.fetchall()
    sign_in = connection.seconds
    connection.seconds = 0
    if SIZE:
        pool.put(connection)
    elif MODE == "kept":
        kept[:] = [connection]
    else:
        connection.close()
    return jsonify(wait=wait, sign_in=sign_in, request=time.monotonic() - begun)


for _ in range(SIZE):
    pool.put(connect())

"""More ways to hold an event loop than holds.py has, for one cause each."""

import asyncio
import os
import queue
import select
import socket
import subprocess
import threading
import time

import holds

CONNECTIONS = {}


def cursor(**options):
    """Of a connection with these options, opened when it is first needed."""
    key = tuple(options)
    if key not in CONNECTIONS:
        import pymysql

        port = int(os.environ["STALLS_MYSQL_PORT"])
        where = {"host": "127.0.0.1", "port": port, "user": "app", "password": "app-pass", "database": "shop"}
        CONNECTIONS[key] = pymysql.connect(**where | options)
    return CONNECTIONS[key].cursor()


def query_unix(seconds):
    if ("unix_socket",) not in CONNECTIONS:
        asked = holds.mysql()
        asked.execute("SELECT @@socket")
        cursor(unix_socket=asked.fetchone()[0])
    cursor(unix_socket=None).execute(f"SELECT SLEEP({seconds})")


def query_timeout(seconds):
    """With a time limit the driver polls before it reads."""
    cursor(read_timeout=30).execute(f"SELECT SLEEP({seconds})")


PREPARED = []


def query_prepared(seconds):
    """A statement that was prepared the first time."""
    if not PREPARED:
        import mysql.connector

        port = int(os.environ["STALLS_MYSQL_PORT"])
        connection = mysql.connector.connect(
            host="127.0.0.1", port=port, user="app", password="app-pass", ssl_disabled=True, use_pure=True
        )
        # A cursor does not keep its connection.
        PREPARED.extend([connection, connection.cursor(prepared=True)])
    PREPARED[1].execute("SELECT SLEEP(%s)", (seconds,))
    PREPARED[1].fetchall()


def query_then_sleep(seconds):
    """A short query, and then something else for long."""
    holds.mysql().execute("SELECT name FROM items WHERE id = 1")
    time.sleep(seconds)


PEER = socket.create_server(("127.0.0.1", 0))


def query_unread(seconds):
    """As a driver that does not block: the query is sent, and its reply read when the loop says that it is there.
    Before that the handler waits for somebody else."""
    connection = holds.mysql().connection._sock
    text = b"SELECT SLEEP(0.01)"
    connection.send((len(text) + 1).to_bytes(3, "little") + b"\0\x03" + text)
    with socket.create_connection(PEER.getsockname()) as silent:
        silent.settimeout(seconds)
        try:
            silent.recv(1)
        except TimeoutError:
            pass
    loop = asyncio.get_running_loop()

    def read():
        connection.recv(65536)
        loop.remove_reader(connection)

    loop.add_reader(connection, read)


def output(seconds):
    subprocess.run(["sleep", str(seconds)], check=True, capture_output=True)


def lock(seconds):
    """A lock of the application's own: waited for in one go."""
    taken = threading.Lock()
    taken.acquire()
    threading.Timer(seconds, taken.release).start()
    taken.acquire()


def get(seconds):
    waiting = queue.Queue()
    threading.Timer(seconds, waiting.put, args=(1,)).start()
    waiting.get()


NUMBERS = {}


def interpreter(seconds):
    """Another thread has the interpreter's lock for so long, in C code that does not give it back. The first time only
    finds out how much that can do meanwhile, or rather twice as much: it may have been slow."""
    if seconds not in NUMBERS:
        begun = time.thread_time()
        sum(range(1_000_000))
        NUMBERS[seconds] = int(2_000_000 * seconds / (time.thread_time() - begun))
        return
    running = threading.Event()

    def add():
        running.set()
        sum(range(NUMBERS[seconds]))

    threading.Thread(target=add).start()
    running.wait()


def nested(seconds):
    """Another epoll set than the loop's, of one socket."""
    ours, theirs = socket.socketpair()
    with select.epoll() as other:
        other.register(ours, select.EPOLLIN)
        other.poll(seconds)
    ours.close()
    theirs.close()


def lookup(seconds):
    """What a resolver does whose server does not answer: a datagram to its port, and a poll."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        # Nobody listens there, and nobody says so: the network is the machine's own, and the error is not read.
        resolver.connect(("127.0.0.53", 53))
        waiting = select.poll()
        waiting.register(resolver, 0)
        waiting.poll(seconds * 1000)


def select_sleep(seconds):
    select.select([], [], [], seconds)


def pipe(seconds):
    reader, writer = os.pipe()
    threading.Timer(seconds, os.write, args=(writer, b"x")).start()
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)


def spin(seconds):
    """Until it had a CPU for so long, however long it has to wait for one."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


WAYS = {
    "query_unix": query_unix,
    "query_timeout": query_timeout,
    "query_unread": query_unread,
    "query_prepared": query_prepared,
    "query_then_sleep": query_then_sleep,
    "output": output,
    "lock": lock,
    "get": get,
    "interpreter": interpreter,
    "nested_socket": nested,
    "lookup": lookup,
    "select": select_sleep,
    "pipe": pipe,
    "compute": spin,
}

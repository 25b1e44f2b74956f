"""Ways in which connections end, fail or are held. Usage: connections.py CASE SETTINGS GATES, the settings in JSON.

Says on stdout, a JSON object a line, what it has counted on its own: `{"at": NAME}` where it stops until the file NAME
is in the folder GATES, and its notes at the end. See tests/support/client_case.rs.
"""

import contextlib
import errno
import http.client
import http.server
import json
import os
import select
import socket
import struct
import sys
import threading
import time

CASES = {}
SETTINGS = json.loads(sys.argv[2])
LOOPBACK = "127.0.0.1"


def case(function):
    CASES[function.__name__] = function
    return function


def say(**what):
    print(json.dumps(what), flush=True)


def gate(name, **what):
    """Stops until the test lets us go on."""
    say(at=name, **what)
    while not os.path.exists(os.path.join(sys.argv[3], name)):
        time.sleep(0.005)


# MySQL


def sign_in(**options):
    import pymysql

    account = {key: SETTINGS[key] for key in ("port", "user", "password", "database")}
    return pymysql.connect(host=LOOPBACK, autocommit=True, **account, **options)


def query(session, sql="SELECT 1"):
    """The number of the error, 0 for none."""
    import pymysql

    try:
        with session.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchall()
        return 0
    except pymysql.Error as error:
        return error.args[0]


def await_hang_up(connection):
    """Waits until the other end has closed, without reading or writing."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    poll.poll()


def hung_up_on(sessions):
    """How long each was idle by the time that it was closed, and what the next query gave."""
    used = time.monotonic()
    idle = []
    for session in sessions:
        await_hang_up(session._sock)
        idle.append(time.monotonic() - used)
    return {"idle": idle, "errors": [query(session) for session in sessions]}


def tire(sessions):
    """From now on the server closes them after a second without a command. Not before: the machine may be busy."""
    return [query(session, "SET SESSION wait_timeout = 1") for session in sessions]


@case
def idle_hang_up():
    """Sessions that the server closes for want of use, and that are then used."""
    sessions = [sign_in() for _ in range(SETTINGS["count"])]
    before = [query(session) for session in sessions] + tire(sessions)
    return hung_up_on(sessions) | {"before": before}


@case
def validated():
    """A pool that asks whether a session is there before it uses it, and replaces those that are not."""
    wanted = "SELECT name FROM items WHERE id = 1"
    pool = [sign_in() for _ in range(SETTINGS["count"])]
    before = [query(session, wanted) for session in pool] + tire(pool)
    found = []
    for at, session in enumerate(pool):
        await_hang_up(session._sock)
        found.append(query(session))
        pool[at] = sign_in()
        before.append(query(pool[at], wanted))
        pool[at].close()
    return {"before": before, "errors": found}


@case
def killed_idle():
    sessions = [sign_in() for _ in range(SETTINGS["count"])]
    before = [query(session) for session in sessions]
    gate("kill", ids=[session.thread_id() for session in sessions])
    return hung_up_on(sessions) | {"before": before}


@case
def killed_running():
    """Sessions that are killed while the server is busy with a query of theirs."""
    sessions = [sign_in() for _ in range(SETTINGS["count"])]
    errors = []
    threads = [
        threading.Thread(target=lambda session=session: errors.append(query(session, "SELECT SLEEP(600)")))
        for session in sessions
    ]
    for thread in threads:
        thread.start()
    say(at="kill", ids=[session.thread_id() for session in sessions])
    for thread in threads:
        thread.join()
    return {"errors": errors}


@case
def restart():
    """A pool whose server is stopped and started again. It is asked all the time, and tries again until it answers."""
    import pymysql

    pool = [sign_in() for _ in range(SETTINGS["count"])]
    before = [query(session) for session in pool]
    say(at="restart")
    errors, tries = [], 0
    for at, session in enumerate(pool):
        while (error := query(session)) == 0:
            time.sleep(0.02)
        errors.append(error)
        while pool[at] is session:
            with contextlib.suppress(pymysql.Error):
                pool[at] = sign_in()
            tries += 1
            time.sleep(0.02)
    return {"before": before, "errors": errors, "tries": tries, "after": [query(session) for session in pool]}


@case
def restart_idle():
    """A pool that nobody asks while its server is stopped and started again."""
    pool = [sign_in() for _ in range(SETTINGS["count"])]
    before = [query(session) for session in pool]
    gate("restart")
    return {"before": before, "errors": [query(session) for session in pool]}


@case
def too_many():
    """More sessions than the server allows."""
    import pymysql

    sessions, errors = [], []
    for _ in range(SETTINGS["count"]):
        try:
            sessions.append(sign_in())
        except pymysql.Error as error:
            errors.append(error.args[0])
    return {"signed_in": len(sessions), "errors": errors, "used": [query(session) for session in sessions]}


@case
def too_large():
    """Statements that are longer than the server takes."""
    sessions = [sign_in() for _ in range(SETTINGS["count"])]
    return {"errors": [query(session, "SELECT '%s'" % ("x" * 3_000_000)) for session in sessions]}


@case
def sign_ins():
    """What each sign-in took, in seconds, and whether it was encrypted."""
    sign_in().close()
    seconds, encrypted = [], 0
    for _ in range(SETTINGS["count"]):
        begun = time.monotonic()
        session = sign_in()
        seconds.append(time.monotonic() - begun)
        encrypted += hasattr(session._sock, "cipher")
        query(session)
        session.close()
    return {"seconds": seconds, "encrypted": encrypted}


@case
def steady():
    """A pool as it should be: opened once, used all the time, closed by a goodbye."""
    pool = [sign_in() for _ in range(SETTINGS["count"])]
    queries = 0
    while not os.path.exists(os.path.join(sys.argv[3], "stop")):
        for session in pool:
            queries += query(session) == 0
        time.sleep(0.05)
    for session in pool:
        session.close()
    return {"queries": queries}


@case
def open_transaction():
    """A session that changes something, does not commit, and does nothing else."""
    session = sign_in()
    errors = [query(session, sql) for sql in ("BEGIN", "UPDATE items SET price = 11 WHERE id = 1")]
    gate("idle", errors=errors)
    return {"rolled_back": query(session, "ROLLBACK")}


class Orders(http.server.BaseHTTPRequestHandler):
    """A thread and a session for each connection. Orders are not committed."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.session = sign_in()

    def finish(self):
        super().finish()
        self.session.close()

    def do_GET(self):
        self.reply([query(self.session)])

    def do_POST(self):
        item = int(self.path.rsplit("/", 1)[1])
        sold = f"UPDATE items SET price = 11 WHERE id = {item}"
        errors = [query(self.session, sql) for sql in ("BEGIN", sold)]
        if self.path.startswith("/bookings/"):
            gate("booking")
        self.reply(errors)

    def reply(self, errors):
        self.send_response(500 if any(errors) else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@case
def serve_orders():
    """Answers POST /orders/ID at once, and POST /bookings/ID when the test lets it go on."""
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Orders)
    server.daemon_threads = True
    say(at="listening", port=server.server_port)
    server.serve_forever()


# HTTP and bare sockets


def address():
    return SETTINGS.get("host", LOOPBACK), SETTINGS["port"]


def connect():
    connection = socket.create_connection(address())
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def request(connection, path="/", keep=True):
    """One request with its whole answer on an open socket."""
    end = "keep-alive" if keep else "close"
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: {end}\r\n\r\n".encode())
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return len(answer.read())


def failures(how):
    """How many attempts there were, and how they failed, by the error's name."""
    failed = {}
    for _ in range(SETTINGS["count"]):
        try:
            how()
        except OSError as error:
            name = errno.errorcode[error.errno]
            failed[name] = failed.get(name, 0) + 1
    return {"attempts": SETTINGS["count"], "failed": failed}


@case
def refused():
    return failures(lambda: connect().close())


@case
def no_route():
    return failures(lambda: connect().close())


@case
def no_socket():
    def connect_path():
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.connect(SETTINGS["path"])

    return failures(connect_path)


@case
def no_answer():
    """Connects to one that takes no more, all at once: each waits until the kernel gives up."""
    failed = {}

    def attempt():
        try:
            connect()
        except OSError as error:
            name = errno.errorcode[error.errno]
            failed[name] = failed.get(name, 0) + 1

    threads = [threading.Thread(target=attempt) for _ in range(SETTINGS["count"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"attempts": SETTINGS["count"], "failed": failed}


@case
def serve_nobody():
    """Listens, and accepts none of those who come; there is room for one, and that is taken."""
    listener = socket.create_server(address(), backlog=0)
    first = connect()
    say(at="listening", listener=listener.fileno(), first=first.fileno())
    time.sleep(600)


@case
def reset_midway():
    def ask():
        with contextlib.closing(connect()) as connection:
            request(connection)

    return failures(ask)


def is_answered(connection):
    try:
        return request(connection, SETTINGS["path"]) > 0
    except (OSError, http.client.HTTPException):
        return False


@case
def keep_alive():
    """Connections that the server closes for want of use; a client that does not look writes to them."""
    connections = [connect() for _ in range(SETTINGS["count"])]
    before = sum(is_answered(connection) for connection in connections)
    for connection in connections:
        await_hang_up(connection)
    return {"before": before, "after": sum(is_answered(connection) for connection in connections)}


@case
def noticed():
    """The same by a client that looks, and opens others."""
    connections = [connect() for _ in range(SETTINGS["count"])]
    before = sum(is_answered(connection) for connection in connections)
    for at, connection in enumerate(connections):
        await_hang_up(connection)
        connection.close()
        connections[at] = connect()
    after = sum(is_answered(connection) for connection in connections)
    for connection in connections:
        connection.close()
    return {"before": before, "after": after}


@case
def cut():
    """Requests that each have a connection of their own: how many had a whole answer, and how many half of one."""
    whole, half = 0, 0
    for _ in range(SETTINGS["count"]):
        with contextlib.closing(connect()) as connection:
            try:
                whole += request(connection, SETTINGS["path"]) > 0
            except http.client.IncompleteRead:
                half += 1
    return {"whole": whole, "half": half}


@case
def dropped():
    """A client that looks at the beginning of each answer, and closes though the rest is there."""
    begun = 0
    for _ in range(SETTINGS["count"]):
        with contextlib.closing(connect()) as connection:
            connection.sendall(f"GET {SETTINGS['path']} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            begun += connection.recv(64).startswith(b"HTTP/1.1 200")
            await_hang_up(connection)
    return {"begun": begun}


@case
def no_ports():
    """More connections to one address than there are ports for."""
    listener = socket.create_server(address(), backlog=128)
    held = []
    notes = failures(lambda: held.append(connect()))
    gate("held")
    for connection in held:
        connection.close()
    listener.close()
    return notes


@case
def unanswered():
    """A call that waits for an answer without a limit."""
    connection = connect()
    connection.sendall(f"GET {SETTINGS['target']} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    say(at="waiting")
    return {"answer": len(connection.recv(65536))}


@case
def conversations():
    """Connections with so many requests on each. They are opened, used, left open, used again and closed by the gates."""
    connections = [connect() for _ in range(SETTINGS["count"])]
    done = 0

    def use():
        return sum(request(connection) > 0 for connection in connections for _ in range(SETTINGS["each"]))

    done += use() if SETTINGS.get("early") else 0
    gate("opened")
    done += use()
    gate("used", done=done)
    for connection in connections[: SETTINGS.get("close", len(connections))]:
        connection.close()
    gate("closed")
    return {"requests": done}


@case
def idle_unix():
    """Connections to a path, of which some are used, and then closed."""
    connections = []
    for _ in range(SETTINGS["count"]):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(SETTINGS["path"])
        connections.append(connection)
    gate("opened")
    used = connections[: SETTINGS["close"]]
    done = sum(request(connection) > 0 for connection in used for _ in range(SETTINGS["each"]))
    gate("used", done=done)
    for connection in used:
        connection.close()
    gate("closed")
    return {}


@case
def serve():
    """An HTTP server with a thread for each connection."""
    if "path" in SETTINGS:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(SETTINGS["path"])
        listener.listen(128)
    else:
        listener = socket.create_server(address(), backlog=SETTINGS.get("backlog", 128))
    say(at="listening")
    while True:
        connection, _ = listener.accept()
        time.sleep(SETTINGS.get("accept_seconds", 0))
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    body = b"x" * 100
    kept = b""
    with contextlib.suppress(OSError):
        while True:
            while b"\r\n\r\n" not in kept:
                more = connection.recv(65536)
                if not more:
                    return connection.close()
                kept += more
            head, kept = kept.split(b"\r\n\r\n", 1)
            if b"GET /slow" in head:
                time.sleep(600)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            if b"Connection: close" in head:
                return connection.close()


@case
def serve_resets():
    """Answers each request with half of what it announces, and a reset."""
    listener = socket.create_server(address(), backlog=128)
    say(at="listening")
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        # The client has read what there is before it is reset: it waits for the rest.
        while unread(connection):
            time.sleep(0.001)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


@case
def serve_ends():
    """Answers one request of a connection, and closes: with half of what it announces (/half), all of it (/whole), or
    without a word on how much that is (/until_closed)."""
    listener = socket.create_server(address(), backlog=128)
    say(at="listening")
    while True:
        connection, _ = listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        length = b"" if b"GET /until_closed" in head else b"Content-Length: 20000\r\n"
        body = b"x" * (10_000 if b"GET /half" in head else 20_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\n%sConnection: close\r\n\r\n%s" % (length, body))
        connection.close()


def unread(connection):
    """Bytes that the other end's kernel has not acknowledged."""
    import fcntl
    import termios

    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))[0]


@case
def serve_slowly():
    """One thread, which takes its time for each connection, and a short queue before it."""
    listener = socket.create_server(address(), backlog=SETTINGS["backlog"])
    say(at="listening")
    while True:
        connection, _ = listener.accept()
        time.sleep(SETTINGS["accept_seconds"])
        answer(connection)


@case
def at_once():
    """Clients that all connect at the same time, again and again."""
    done = []

    def ask():
        for _ in range(SETTINGS["each"]):
            with contextlib.closing(connect()) as connection:
                done.append(request(connection, keep=False) > 0)

    threads = [threading.Thread(target=ask) for _ in range(SETTINGS["count"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"answered": sum(done)}


if __name__ == "__main__":
    say(**CASES[sys.argv[1]]())

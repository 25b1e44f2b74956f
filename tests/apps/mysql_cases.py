"""Cases that a workload cannot express. Usage: mysql_cases.py CASE ENDPOINT GATE; see tests/support/sql_case.rs.

Prints {"statements": what was sent, as py_mysql.py logs it, "notes": what else the case has to say}.
"""

import json
import os
import struct
import sys
import time

import pymysql
from pymysql.constants import CLIENT

from py_mysql import LOG, connect, run, statements

CASES = {}
ENDPOINT = json.loads(sys.argv[2])
PREPARE, EXECUTE, CLOSE = 0x16, 0x17, 0x19


def case(function):
    CASES[function.__name__] = function
    return function


def gate():
    """Stops until the test lets us go on."""
    print("at the gate", file=sys.stderr, flush=True)
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.005)


@case
def status():
    """The server's counters."""
    with connect(ENDPOINT).cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_stmt%'")
        return dict(cursor.fetchall())


def logged(kind, text, send):
    """Logs a command that PyMySQL itself cannot send."""
    LOG.append({"kind": kind, "text": text, "length": len(text), "rows": 0, "affected": 0})
    LOG[-1]["begun"] = time.monotonic()
    send()


def send(connection, data):
    """Sends packets of our own making and tells PyMySQL to expect their reply."""
    connection._next_seq_id = 1
    connection._sock.sendall(data)


def packet(command, payload):
    return struct.pack("<I", len(payload) + 1) + bytes([command]) + payload


def prepare(connection, sql):
    """Prepares a statement without parameters and with one column; returns its number."""
    logged("prepare", sql, lambda: pymysql.connections.Connection._execute_command(connection, PREPARE, sql))
    number = struct.unpack_from("<I", connection._read_packet().get_all_data(), 1)[0]
    connection._read_packet()
    connection._read_packet()
    return number


def read_rows(connection):
    """Reads a reply and counts its rows, whose values do not matter."""
    connection._read_packet()
    ends = 0
    while ends < 2:
        is_end = connection._read_packet().is_eof_packet()
        ends += is_end
        LOG[-1]["rows"] += ends == 1 and not is_end


def execute(connection, number, sql, before=b""):
    """Executes a prepared statement, with other packets in the same segment before it."""
    run = before + packet(EXECUTE, struct.pack("<IBI", number, 0, 1))
    logged("execute", sql, lambda: send(connection, run))
    read_rows(connection)


def failing(connection, sql):
    """Runs a statement that the connection will not live through; returns the client's error number."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    except pymysql.Error as error:
        return error.args[0]
    except OSError as error:
        return error.errno
    finally:
        # It may not even have been sent.
        LOG.pop()
    return None


@case
def multi():
    """Several statements in a query, the last of which fails; a procedure with two results."""
    connection = connect(ENDPOINT)
    run(connection, "SELECT id FROM items; SELECT price FROM items")
    run(connection, "SELECT 7; SELECT * FROM nowhere")
    run(connection, "CREATE PROCEDURE twice() BEGIN SELECT id FROM items; SELECT price FROM items; END")
    run(connection, "CALL twice()")
    run(connection, "DROP PROCEDURE twice")
    connection.close()


@case
def close_before():
    """Closes of prepared statements in one segment with the next command."""
    connection = connect(ENDPOINT)
    for _ in range(10):
        gone = prepare(connection, "SELECT 1 + 1")
        kept = prepare(connection, "SELECT price FROM items")
        close = packet(CLOSE, struct.pack("<I", gone))
        execute(connection, kept, "SELECT price FROM items", before=close)
        close = packet(CLOSE, struct.pack("<I", kept))
        sql = "SELECT id FROM items"
        query = packet(0x03, sql.encode())
        logged("query", sql, lambda: send(connection, close + query))
        read_rows(connection)
    connection.close()


@case
def prepared_before():
    """A statement that is prepared before the gate and executed behind it."""
    connection = connect(ENDPOINT)
    number = prepare(connection, "SELECT SLEEP(0.02)")
    LOG.clear()
    gate()
    for _ in range(3):
        execute(connection, number, "SELECT SLEEP(0.02)")
    connection.close()


@case
def local_file():
    """LOAD DATA LOCAL of a file of 100,000 lines."""
    connection = connect(ENDPOINT, local_infile=True)
    run(connection, "CREATE TABLE numbers (id INT) ENGINE=InnoDB")
    path = sys.argv[3] + ".csv"
    with open(path, "w") as file:
        file.writelines(f"{number}\n" for number in range(100_000))
    run(connection, f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE numbers")
    loaded = LOG[-1]["affected"]
    run(connection, "DROP TABLE numbers")
    connection.close()
    return {"loaded": loaded, "file": os.path.getsize(path)}


@case
def hang_up():
    """The server hangs up on an idle connection; the client notices with its next query."""
    connection = connect(ENDPOINT)
    run(connection, "SET SESSION wait_timeout = 1")
    run(connection, "SELECT 7")
    time.sleep(1.8)
    return {"error": failing(connection, "SELECT 8")}


@case
def killed_query():
    """A running query is interrupted; the connection lives on."""
    victim, killer = connect(ENDPOINT), connect(ENDPOINT)
    number = victim.thread_id()
    tables = ", ".join(f"items {name}" for name in "abcdefghi")
    victim._execute_command(0x03, f"SELECT SUM(a.id * i.id) FROM {tables}")
    time.sleep(0.3)
    with killer.cursor() as cursor:
        cursor.execute(f"KILL QUERY {number}")
    entry = [entry for entry in LOG if "SUM" in entry["text"]][0]
    try:
        victim._read_query_result()
    except pymysql.Error as error:
        entry["error"] = error.args[0]
    entry["seconds"] = time.monotonic() - entry["begun"]
    run(victim, "SELECT 7")
    return {"error": entry.get("error"), "seconds": entry["seconds"]}


@case
def killed_connection():
    """A connection is killed while its query runs."""
    victim, killer = connect(ENDPOINT), connect(ENDPOINT)
    number = victim.thread_id()
    victim._execute_command(0x03, "SELECT SLEEP(20)")
    time.sleep(0.3)
    with killer.cursor() as cursor:
        cursor.execute(f"KILL {number}")
    LOG.clear()
    try:
        victim._read_query_result()
    except pymysql.Error as error:
        return {"error": error.args[0]}


@case
def too_big():
    """A query beyond max_allowed_packet."""
    admin = connect(ENDPOINT)
    with admin.cursor() as cursor:
        cursor.execute("SET GLOBAL max_allowed_packet = 1048576")
    connection = connect(ENDPOINT)
    run(connection, "SELECT 7")
    return {"error": failing(connection, "SELECT '" + "x" * 1_200_000 + "'")}


@case
def idle():
    """A query, and then nothing for a while on a connection that stays open."""
    connection = connect(ENDPOINT)
    run(connection, "SELECT id FROM items")
    gate()
    return {}


@case
def rows():
    """A result of 100,000 rows, read as they come."""
    connection = connect(ENDPOINT)
    sql = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, REPEAT('y', 40) FROM n"
    run(connection, "SET SESSION max_recursive_iterations = 200000")
    run(connection, sql)
    connection.close()


@case
def pipelined():
    """Three queries in one write, each of which takes its time, and another one behind them."""
    connection = connect(ENDPOINT)
    queries = [f"SELECT SLEEP(0.1) AS pipelined_{number}" for number in range(3)]
    data = b"".join(packet(0x03, sql.encode()) for sql in queries)
    begun = time.monotonic()
    connection._sock.sendall(data)
    for sql in queries:
        logged("query", sql, lambda: None)
        LOG[-1]["begun"] = begun
        connection._next_seq_id = 1
        read_rows(connection)
    run(connection, "SELECT 7 AS after")
    connection.close()


FLAGGED = [
    "SELECT name FROM items WHERE id = 3",
    "SELECT name FROM items WHERE price > 15",
    "SELECT COUNT(*) FROM items a, items b WHERE a.id > b.price AND b.id < 9",
    "SELECT SLEEP(0.3)",
    "UPDATE items SET price = price WHERE name = 'nobody'",
]


@case
def flags():
    """Statements with and without index, slow and fast, and what the server itself notes of each."""
    admin = connect(ENDPOINT)
    with admin.cursor() as cursor:
        cursor.execute("UPDATE performance_schema.setup_consumers SET enabled = 'YES' WHERE name LIKE 'events_statements_%'")
        cursor.execute("SET GLOBAL slow_query_log = 1, GLOBAL log_output = 'TABLE'")
    # Sessions from here on write the slow log.
    connection = connect(ENDPOINT)
    with admin.cursor() as cursor:
        cursor.execute("SELECT thread_id FROM performance_schema.threads WHERE processlist_id = %s", connection.thread_id())
        thread = cursor.fetchone()[0]
    LOG.clear()
    run(connection, "SET SESSION long_query_time = 0.2")
    for sql in FLAGGED:
        run(connection, sql)
    count = len(LOG)
    # The server notes a statement after its reply.
    time.sleep(0.3)
    with admin.cursor() as cursor:
        cursor.execute(
            "SELECT sql_text, no_index_used, no_good_index_used FROM performance_schema.events_statements_history"
            " WHERE thread_id = %s ORDER BY event_id",
            thread,
        )
        noted = {text: [index, good] for text, index, good in cursor.fetchall()}
        cursor.execute("SELECT sql_text FROM mysql.slow_log")
        slow = [row[0] for row in cursor.fetchall()]
    slow = [text.decode() if isinstance(text, bytes) else text for text in slow]
    del LOG[count:]
    return {"port": connection._sock.getsockname()[1], "noted": noted, "slow": slow}


def connector(**options):
    import mysql.connector

    where = {"unix_socket": ENDPOINT["socket"]} if "socket" in ENDPOINT else {"host": "127.0.0.1", "port": ENDPOINT["port"]}
    return mysql.connector.connect(
        user=ENDPOINT["user"],
        password=ENDPOINT["password"],
        database=ENDPOINT["database"],
        use_pure=True,
        ssl_disabled=True,
        autocommit=True,
        **where,
        **options,
    )


def through_connector(**options):
    """Twenty queries and twenty executions of a prepared statement."""
    connection = connector(**options)
    cursor = connection.cursor()
    for number in range(20):
        cursor.execute(f"SELECT name FROM items WHERE id = {number % 10 + 1}")
        cursor.fetchall()
    cursor = connection.cursor(prepared=True)
    for number in range(20):
        cursor.execute("SELECT price FROM items WHERE id = %s", (number % 10 + 1,))
        cursor.fetchall()
    cursor.close()
    connection.close()


@case
def split_reads():
    """mysql-connector-python reads a packet's header and its payload apart."""
    through_connector()


@case
def compressed():
    through_connector(compress=True)


if __name__ == "__main__":
    notes = CASES[sys.argv[1]]()
    json.dump({"statements": statements(), "notes": notes}, sys.stdout)

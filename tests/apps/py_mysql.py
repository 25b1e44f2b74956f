"""Runs the workload through PyMySQL. Usage: py_mysql.py ENDPOINT WORKLOAD; see tests/support/sql_client.rs.

PyMySQL has no prepared statements: it puts the arguments into the text and sends queries. What is logged is what
goes out, its own `SET NAMES` and `SET AUTOCOMMIT` included.
"""

import json
import sys
import time

import pymysql
from pymysql.constants import CLIENT, COMMAND

LOG = []


class LoggedConnection(pymysql.connections.Connection):
    """Logs each command when it is written and when the last packet of its reply has been read."""

    def _execute_command(self, command, sql):
        text = sql.decode() if isinstance(sql, (bytes, bytearray)) else sql
        kind = "query" if command == COMMAND.COM_QUERY else str(command)
        LOG.append({"kind": kind, "text": text[:200], "length": len(text), "rows": 0, "affected": 0})
        LOG[-1]["begun"] = time.monotonic()
        super()._execute_command(command, sql)

    def _read_packet(self, *args, **kwargs):
        try:
            return super()._read_packet(*args, **kwargs)
        finally:
            if LOG:
                LOG[-1]["seconds"] = time.monotonic() - LOG[-1]["begun"]


def run(connection, sql, arguments=None):
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql, arguments)
            more = True
            while more:
                if cursor.description:
                    LOG[-1]["rows"] += len(cursor.fetchall())
                else:
                    LOG[-1]["affected"] += cursor.rowcount
                more = cursor.nextset()
        except pymysql.Error as error:
            LOG[-1]["error"] = error.args[0]


def connect(endpoint, **options):
    where = {"unix_socket": endpoint["socket"]} if "socket" in endpoint else {
        "host": "127.0.0.1",
        "port": endpoint["port"],
    }
    options = {"client_flag": CLIENT.MULTI_STATEMENTS, "autocommit": True} | options
    return LoggedConnection(
        user=endpoint["user"],
        password=endpoint["password"],
        database=endpoint["database"],
        max_allowed_packet=64 * 1024 * 1024,
        **where,
        **options,
    )


def statements():
    """What has been logged, as the tests read it."""
    return [{name: value for name, value in entry.items() if name != "begun"} for entry in LOG]


def main():
    endpoint, workload = json.loads(sys.argv[1]), json.load(open(sys.argv[2]))
    connection = connect(endpoint)
    for step in workload:
        if "prepare" in step:
            for arguments in step["execute"]:
                run(connection, step["prepare"].replace("?", "%s"), arguments)
        else:
            run(connection, step["query"].replace("PAD", "x" * step.get("pad", 0)))
    connection.close()
    json.dump(statements(), sys.stdout)


if __name__ == "__main__":
    main()

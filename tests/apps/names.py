"""A name server and a client of it. Usage: names.py serve NAME ADDRESS PORT | names.py ask HOST PORT.

`serve` answers every question for an address of IPv4 with an alias whose address is ADDRESS, says "listening" on stdout, and
echoes what comes to ADDRESS:PORT. `ask` connects to HOST:PORT as programs do, by getaddrinfo(), and has a line echoed.
"""

import socket
import struct
import sys
import threading

A = 1


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def answers(names, alias, address):
    while True:
        question, client = names.recvfrom(512)
        end = question.index(b"\0", 12) + 1
        (kind,) = struct.unpack_from("!H", question, end)
        records = b""
        if kind == A:
            target = name(alias)
            # The name is the question's: a pointer to byte 12 (RFC 1035, 4.1.4).
            records = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, len(target)) + target
            records += target + struct.pack("!HHIH", A, 1, 60, 4) + socket.inet_aton(address)
        head = question[:2] + struct.pack("!5H", 0x8180, 1, 2 if records else 0, 0, 0)
        names.sendto(head + question[12 : end + 4] + records, client)


def serve(alias, address, port):
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 53))
    threading.Thread(target=answers, args=(names, alias, address), daemon=True).start()
    server = socket.create_server((address, int(port)))
    print("listening", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(connection.recv(100))


def ask(host, port):
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(100) == b"hello\n"


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])

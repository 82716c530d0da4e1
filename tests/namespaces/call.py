"""Calls made one after another from one host: python call.py PROTOCOL ADDRESS PORT COUNT [SOURCE [SOURCE_PORT]].

With the protocol "talk" COUNT connections are opened; then, for every line on standard input, each sends a line and
the answers stand in one line.
"""

import socket
import sys

kind, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
source = sys.argv[5] if len(sys.argv) > 5 else ""
source_port = int(sys.argv[6]) if len(sys.argv) > 6 else 0
family = socket.AF_INET6 if ":" in address else socket.AF_INET


def connected():
    call = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    call.settimeout(3)
    call.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    call.bind((source, source_port))
    call.connect((address, port))
    return call


def spoken(call):
    try:
        call.sendall(b"?\n")
        return call.recv(100).decode() or "closed"
    except OSError as error:
        return type(error).__name__


if kind == "talk":
    calls = [connected() for _ in range(count)]
    print("open", flush=True)
    for _ in sys.stdin:
        print(" ".join(map(spoken, calls)), flush=True)
    sys.exit()
for _ in range(count):
    try:
        with connected() as call:
            if kind == "udp":
                call.send(b"?")
            print(call.recv(100).decode())
    except OSError as error:
        print(type(error).__name__)

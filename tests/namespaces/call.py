"""Calls made one after another from one host: python call.py PROTOCOL ADDRESS PORT COUNT [SOURCE [SOURCE_PORT]]."""

import socket
import sys

kind, address, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
source = sys.argv[5] if len(sys.argv) > 5 else ""
source_port = int(sys.argv[6]) if len(sys.argv) > 6 else 0
for _ in range(count):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as call:
            call.settimeout(3)
            call.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            call.bind((source, source_port))
            call.connect((address, port))
            if kind == "udp":
                call.send(b"?")
            print(call.recv(100).decode())
    except OSError as error:
        print(type(error).__name__)

"""A host that answers on some TCP and UDP ports: its name, and the address and port it was called from.

On port 9000 it keeps the connection and answers every line with its name.
"""

import selectors
import socket
import sys

PORTS = (22, 80, 81, 8005)
TALK = 9000
name = sys.argv[1]
ready = selectors.DefaultSelector()


def listen(port, kind):
    ready.register(
        socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True), selectors.EVENT_READ, kind
    )


for port in PORTS:
    listen(port, "tcp")
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    ready.register(udp, selectors.EVENT_READ, "udp")
listen(TALK, "talk")
while True:
    for key, _ in ready.select():
        if key.data == "udp":
            _, peer = key.fileobj.recvfrom(100)
            key.fileobj.sendto(f"{name} {peer[0].removeprefix('::ffff:')} {peer[1]}".encode(), peer)
        elif key.data == "line":
            try:
                data = key.fileobj.recv(100)
            except OSError:
                data = b""
            if data:
                key.fileobj.sendall(name.encode())
            else:
                ready.unregister(key.fileobj)
                key.fileobj.close()
        else:
            caller, peer = key.fileobj.accept()
            if key.data == "talk":
                ready.register(caller, selectors.EVENT_READ, "line")
                continue
            caller.sendall(f"{name} {peer[0].removeprefix('::ffff:')} {peer[1]}".encode())
            caller.close()

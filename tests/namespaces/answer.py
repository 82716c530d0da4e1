"""A host that answers on some TCP and UDP ports: its name, and the address and port it was called from."""

import selectors
import socket
import sys

PORTS = (22, 80, 81, 8005)
name = sys.argv[1]
ready = selectors.DefaultSelector()
for port in PORTS:
    ready.register(socket.create_server(("0.0.0.0", port)), selectors.EVENT_READ, "tcp")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    ready.register(udp, selectors.EVENT_READ, "udp")
while True:
    for key, _ in ready.select():
        if key.data == "tcp":
            caller, peer = key.fileobj.accept()
            caller.sendall(f"{name} {peer[0]} {peer[1]}".encode())
            caller.close()
        else:
            _, peer = key.fileobj.recvfrom(100)
            key.fileobj.sendto(f"{name} {peer[0]} {peer[1]}".encode(), peer)

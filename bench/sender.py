"""Sends UDP packets of 60 bytes at a rate, from a socket of the interface: a process of its own, for the bench.

``python sender.py INTERFACE TO-MAC SOURCE TARGET PORT RATE SECONDS FLOWS``; prints how many were sent.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys
import time

BATCH = 64
FRAME = 60
SOL_PACKET, QDISC_BYPASS = 263, 20


class Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vectors", ctypes.POINTER(Vector)),
        ("count", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class Message(ctypes.Structure):
    _fields_ = (("header", Header), ("sent", ctypes.c_uint32))


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(own, other, source, target, ports):
    length = FRAME - 14
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target)
    )
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return other + own + b"\x08\x00" + head + struct.pack(">HHHH", *ports, length - 20, 0) + bytes(length - 28)


def frames(own, other, source, target, port, flows):
    """As many as there are flows, each from a port of its own, from further addresses when the ports run out."""
    first = int.from_bytes(socket.inet_aton(source), "big")
    for number in range(flows):
        ip = socket.inet_ntoa((first + number // 50_000).to_bytes(4, "big"))
        yield frame(own, other, ip, target, (1024 + number % 50_000, port))


def main():
    interface, mac, source, target = sys.argv[1:5]
    port, rate, seconds, flows = (int(word) for word in sys.argv[5:9])
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        out.setsockopt(SOL_PACKET, QDISC_BYPASS, 1)
        own = fcntl.ioctl(out, 0x8927, struct.pack("256s", interface.encode()))[18:24]
        data = b"".join(frames(own, bytes.fromhex(mac.replace(":", "")), source, target, port, flows))
        buffer = ctypes.create_string_buffer(data, len(data))
        start = ctypes.addressof(buffer)
        vectors = (Vector * flows)(*(Vector(start + FRAME * number, FRAME) for number in range(flows)))
        messages = (Message * (flows + BATCH))()
        for number in range(flows + BATCH):
            messages[number].header.vectors = ctypes.pointer(vectors[number % flows])
            messages[number].header.count = 1
        print(send(out.fileno(), messages, flows, rate, seconds))


def send(handle, messages, flows, rate, seconds):
    """At the rate, in batches; what the socket does not take is sent again."""
    library = ctypes.CDLL(None, use_errno=True)
    size, sent, place = ctypes.sizeof(Message), 0, 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds and sent < rate * seconds:
        due = int(passed * rate) - sent
        if due < 1:
            time.sleep(0.0005)
            continue
        at = ctypes.byref(messages, place * size)
        done = library.sendmmsg(handle, at, min(due, BATCH), 0)
        if done > 0:
            sent += done
            place = (place + done) % flows
    return sent


if __name__ == "__main__":
    main()

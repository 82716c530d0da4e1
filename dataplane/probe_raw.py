"""Tests below the sockets of TCP and UDP: echo requests, and a SYN that is never followed by more."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import struct

from dataplane.probe_verdict import failed

_ECHO, _ECHO_REPLY = 8, 0
_ECHO_6, _ECHO_REPLY_6 = 128, 129
_SEQUENCE = itertools.count(1)
_SYN, _RST, _SYN_ACK = 0x02, 0x04, 0x12


async def ping(ip: str) -> None:
    """Return when the answer to an echo request comes. Raises OSError."""
    six = ":" in ip
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    loop, number = asyncio.get_running_loop(), next(_SEQUENCE)
    ident = struct.pack("!HH", os.getpid() & 0xFFFF, number & 0xFFFF)
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) as raw:
        raw.connect((ip, 0))  # from now on it hears of this server only
        await loop.sock_sendall(raw, _echo_request(ident, six=six))
        while True:
            data = await loop.sock_recv(raw, 2048)
            answer = data if six else data[(data[0] & 15) * 4 :]
            if answer[0] == (_ECHO_REPLY_6 if six else _ECHO_REPLY) and answer[4:8] == ident:
                return


def _echo_request(ident: bytes, *, six: bool) -> bytes:
    """The kernel fills in the checksum of ICMPv6 by itself."""
    kind = bytes([_ECHO_6 if six else _ECHO, 0])
    rest = ident + b"avish health"
    return kind + (b"\0\0" if six else checksum(kind + b"\0\0" + rest)) + rest


def checksum(data: bytes) -> bytes:
    """The Internet checksum."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


async def half_open(ip: str, port: int) -> None:
    """Send a SYN, return when it is answered; the kernel, which knows of no such connection, answers with a reset.

    Raises Failed when the port is closed; OSError.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sequence, source_port = random.getrandbits(32), random.randint(20_000, 32_000)
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP) as raw:
        raw.connect((ip, 0))
        segment = struct.pack("!HHIIBBHHH", source_port, port, sequence, 0, 5 << 4, _SYN, 64240, 0, 0)
        sum_ = checksum(_pseudo(family, raw.getsockname()[0], ip, len(segment)) + segment)
        await loop.sock_sendall(raw, segment[:16] + sum_ + segment[18:])
        while True:
            flags = _flags(await loop.sock_recv(raw, 2048), family, (port, source_port))
            if flags & _RST:
                raise failed("CONNECTION_REFUSED", "connection refused")
            if flags & _SYN_ACK == _SYN_ACK:
                return


def _pseudo(family: socket.AddressFamily, source: str, destination: str, length: int) -> bytes:
    ends = socket.inet_pton(family, source.partition("%")[0]) + socket.inet_pton(family, destination)
    return ends + struct.pack("!IxxxB" if family == socket.AF_INET6 else "!xBH", *_tail(family, length))


def _tail(family: socket.AddressFamily, length: int) -> tuple[int, int]:
    return (length, socket.IPPROTO_TCP) if family == socket.AF_INET6 else (socket.IPPROTO_TCP, length)


def _flags(data: bytes, family: socket.AddressFamily, ports: tuple[int, int]) -> int:
    """The flags of a segment between these ports; 0 for any other."""
    segment = data if family == socket.AF_INET6 else data[(data[0] & 15) * 4 :]
    if len(segment) < 20 or struct.unpack_from("!HH", segment) != ports:
        return 0
    return segment[13]

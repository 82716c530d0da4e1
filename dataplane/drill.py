"""A failover measured by the engine that takes over: how long nobody answered for an address of the pair."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable

from dataplane.errors import RefusedError
from dataplane.failover_model import Link
from dataplane.model import Row

PAUSE = 0.005
LONGEST = 8.0
_ETHERTYPE = 0x0806
_HEADER = b"\x00\x01\x08\x00\x06\x04"
_REPLY = b"\x00\x02"


def outage(link: Link, address: str, active: Callable[[], bool]) -> Row:
    """Ask for the address on the wire until this engine is the active one. Raises RefusedError when it never is.

    Keys: outage_ms (from the last answer of the other engine until this one took over), answers (before).
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERTYPE)) as wire:
        wire.bind((link.interface, _ETHERTYPE))
        frame = request(wire.getsockname()[4], link.own, address)
        return _until(wire, frame, socket.inet_aton(address), active)


def _until(wire: socket.socket, frame: bytes, wanted: bytes, active: Callable[[], bool]) -> Row:
    begun = last = time.monotonic()
    answers = 0
    while not active():
        now = time.monotonic()
        if now > begun + LONGEST:
            raise RefusedError(f"this engine did not take over within {LONGEST:g} s")
        wire.send(frame)
        if _answered(wire, wanted, now + PAUSE):
            last, answers = time.monotonic(), answers + 1
    return {"outage_ms": round(1000 * (time.monotonic() - last)), "answers": answers}


def _answered(wire: socket.socket, wanted: bytes, until: float) -> bool:
    """Whether the address answered before that moment; waits for it, so that questions keep their pace."""
    found = False
    while (left := until - time.monotonic()) > 0:
        if select.select([wire], [], [], left)[0]:
            data = wire.recv(128)
            found = found or (data[20:22] == _REPLY and data[28:32] == wanted)
    return found


def request(mac: bytes, own: str, address: str) -> bytes:
    """Who has ``address``? Tell ``own``."""
    header = b"\xff" * 6 + mac + struct.pack("!H", _ETHERTYPE)
    ends = mac + socket.inet_aton(own) + bytes(6) + socket.inet_aton(address)
    return header + _HEADER + b"\x00\x01" + ends

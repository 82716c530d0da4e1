"""What an NFLOG socket delivers, turned into packets in order; the first packet of a flow gets its "before" back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from dataplane.model import Packet
from dataplane.netlink import Message, netfilter_type, parse

SUBSYSTEM = 4
"""Of netfilter's netlink: the packet logs."""

_STAMP_VALID = 1.0
_PACKET = netfilter_type(SUBSYSTEM, 0)
_MARK, _TIMESTAMP, _IN_DEVICE, _OUT_DEVICE, _PAYLOAD, _PREFIX, _SEQUENCE = 2, 3, 4, 5, 9, 10, 12
_FAMILY_HEADER = 4
_U32 = struct.Struct(">I")
_STAMP = struct.Struct(">QQ")

Point = Literal["before", "after"]
Direction = Literal["original", "reply"]

PLACES: dict[bytes, tuple[Point, Direction, bool]] = {
    f"{point}-{kind}\0".encode(): (point, "reply" if kind == "reply" else "original", kind == "first")
    for point in ("before", "after")
    for kind in ("original", "reply", "first")
}
"""The log prefix of the rules -> point, direction of the connection, whether the packet is the flow's first."""


class LogReader:
    """From the messages of an NFLOG socket to packets in order: the first packet's before, its after, and so on.

    ``received`` counts records.
    """

    def __init__(self) -> None:
        self.received = 0
        self._gap = 0
        self._expected: int | None = None
        self._stamp = 0.0
        self._held = HeldPackets()
        self._names: dict[int, str] = {}

    def packets(self, messages: Iterable[Message], now: float) -> list[Packet]:
        """The packets of a datagram that are known to be translated. ``now``: for packets without a time of their own.

        The kernel stamps packets on their way in only; one on its way out gets the time of the last stamped one,
        which was logged right before it.
        """
        if now - self._stamp > _STAMP_VALID:
            self._stamp = now
        found: list[Packet] = []
        for message in messages:
            if message.type == _PACKET:
                self._record(parse(message.body, _FAMILY_HEADER), found)
        return found

    def take_gap(self) -> int:
        """How many records were missing in the sequence since the last call."""
        gap, self._gap = self._gap, 0
        return gap

    def _record(self, parts: dict[int, bytes], found: list[Packet]) -> None:
        self._count(parts.get(_SEQUENCE))
        place = PLACES.get(parts.get(_PREFIX, b""))
        if place is None:
            return
        if _TIMESTAMP in parts:
            seconds, microseconds = _STAMP.unpack(parts[_TIMESTAMP])
            self._stamp = seconds + microseconds / 1e6
        point, direction, first = place
        packet = self._packet(parts, point, direction)
        if first and point == "before":
            self._held.add(packet)
            return
        held = self._held.take(packet) if first else None
        if held is not None:
            found.append(replace(held, mark=packet.mark))
        found.append(packet)

    def _packet(self, parts: dict[int, bytes], point: Point, direction: Direction) -> Packet:
        data = parts.get(_PAYLOAD, b"")
        device = parts.get(_IN_DEVICE if point == "before" else _OUT_DEVICE, bytes(4))
        mark = parts.get(_MARK, bytes(4))
        length = int.from_bytes(data[2:4], "big") or len(data)
        return Packet(
            self._stamp, point, direction, _U32.unpack(mark)[0], self._name(_U32.unpack(device)[0]), length, data
        )

    def _count(self, sequence: bytes | None) -> None:
        self.received += 1
        if sequence is None:
            return
        number = _U32.unpack(sequence)[0]
        if self._expected is not None and number != self._expected:
            self._gap += (number - self._expected) & 0xFFFFFFFF
        self._expected = (number + 1) & 0xFFFFFFFF

    def _name(self, index: int) -> str:
        name = self._names.get(index)
        if name is None:
            try:
                name = socket.if_indextoname(index)
            except OSError:  # none, or gone already
                name = str(index) if index else ""
            self._names[index] = name
        return name


class HeldPackets:
    """First packets of flows, waiting to be recognised behind the translation; bounded in number and time."""

    LIMIT = 1024
    PER_KEY = 16
    SECONDS = 2.0

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, ...], list[Packet]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, packet: Packet) -> None:
        """Hold ``packet``; forget what has waited too long, and the oldest when there are too many."""
        alike = self._waiting.setdefault(fingerprint(packet.data), [])
        alike.append(packet)
        self._count += 1
        if len(alike) > self.PER_KEY:
            del alike[0]
            self._count -= 1
        self._expire(packet.time - self.SECONDS)

    def take(self, after: Packet) -> Packet | None:
        """The held packet that ``after`` is the translation of: of those alike, the one with most ends unchanged."""
        key = fingerprint(after.data)
        alike = self._waiting.get(key)
        if not alike:
            return None
        ends = _ends(after.data)
        best = max(alike, key=lambda packet: sum(a == b for a, b in zip(_ends(packet.data), ends, strict=True)))
        alike.remove(best)
        self._count -= 1
        if not alike:
            del self._waiting[key]
        return best

    def _expire(self, before: float) -> None:
        while self._waiting:
            key, alike = next(iter(self._waiting.items()))
            if self._count <= self.LIMIT and alike[-1].time >= before:
                return
            self._count -= len(alike)
            del self._waiting[key]


def fingerprint(data: bytes) -> tuple[bytes, ...]:
    """What translation leaves alone of an IPv4 packet: lengths, id, protocol, TCP sequence, ICMP type, payload."""
    start = (data[0] & 0x0F) * 4 if data else 0
    fixed = (data[2:8], data[9:10])
    match data[9:10]:
        case b"\x06":  # TCP: sequence, acknowledgement, flags
            return (*fixed, data[start + 4 : start + 12], data[start + 13 : start + 14])
        case b"\x11":  # UDP: payload
            return (*fixed, data[start + 8 : start + 40])
        case b"\x01":  # ICMP: type, code, sequence, payload
            return (*fixed, data[start : start + 2], data[start + 6 : start + 40])
    return fixed


def _ends(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Source and destination address, source and destination port."""
    start = (data[0] & 0x0F) * 4 if data else 0
    return data[12:16], data[16:20], data[start : start + 2], data[start + 2 : start + 4]

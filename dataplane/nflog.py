"""What an NFLOG socket delivers, turned into packets in order, each with the ends it has on the other side.

The first packet of a flow is not yet known to be translated when it is seen before; it is held back until its "after"
comes. The same holds for the first packet seen of a flow that was there already. From then on both sides are known.
"""

from __future__ import annotations

import socket
import struct

from dataplane.netlink import netfilter_type
from dataplane.taps import Direction, Packet, Point, ends

SUBSYSTEM = 4
"""Of netfilter's netlink: the packet logs."""
FLOWS = 262_144
"""Directions of flows whose other side is remembered."""

_STAMP_VALID_NS = 1_000_000_000
_PACKET = netfilter_type(SUBSYSTEM, 0)
_MARK, _TIMESTAMP, _IN_DEVICE, _OUT_DEVICE, _PAYLOAD, _PREFIX, _SEQUENCE = 2, 3, 4, 5, 9, 10, 12
_MESSAGE = struct.Struct("=IH")
_MESSAGE_HEADER, _FAMILY_HEADER = 16, 4
_ATTRIBUTE = struct.Struct("=HH")
_U32 = struct.Struct(">I")
_STAMP = struct.Struct(">QQ")

Place = tuple[Point, Direction, bool, str]
"""Point, direction of the connection, whether the packet is the flow's first, reason."""
HIDDEN = b"after-hidden\0"
"""Prefix of a first packet that is not wanted itself, but tells whose the one before it is."""
PLACES: dict[bytes, Place] = {
    b"before-original\0": ("before", "original", False, ""),
    b"before-reply\0": ("before", "reply", False, ""),
    b"before-first\0": ("before", "original", True, ""),
    b"after-original\0": ("after", "original", False, ""),
    b"after-reply\0": ("after", "reply", False, ""),
    b"after-first\0": ("after", "original", True, ""),
    HIDDEN: ("after", "original", True, ""),
    b"forward-routing\0": ("forward", "original", False, ""),
    b"sent-probe\0": ("sent", "original", False, ""),
    b"received-probe\0": ("received", "reply", False, ""),
}
"""By the log prefix of the rules; those that say a reason begin with "drop:" or "dos:"."""


class LogReader:
    """From the datagrams of an NFLOG socket to packets in order. ``received`` counts records."""

    def __init__(self) -> None:
        self.received = 0
        self._gap = 0
        self._expected: int | None = None
        self._stamp = 0
        self._stamped = self._unstamped = False
        self._pairs = Pairs()
        self._names: dict[bytes, str] = {}
        self._places = dict(PLACES)

    def packets(self, data: bytes, now: int) -> list[Packet]:
        """The packets that are certain. ``now``: nanoseconds since the epoch, for packets without a time of their own.

        The kernel stamps packets on their way in only; one on its way out gets the time of the last stamped one,
        which was logged right before it, or, where the engine itself sends it, of the next one.
        """
        if now - self._stamp > _STAMP_VALID_NS:
            self._stamp = now
        found: list[Packet] = []
        self._stamped = False
        offset, end = 0, len(data)
        while offset + _MESSAGE_HEADER <= end:
            length, kind = _MESSAGE.unpack_from(data, offset)
            if length < _MESSAGE_HEADER or offset + length > end:
                break
            if kind == _PACKET:
                self._record(data, offset + _MESSAGE_HEADER + _FAMILY_HEADER, offset + length, found)
            offset += (length + 3) & ~3
        return self._in_time(found, now) if self._unstamped else found

    def _in_time(self, found: list[Packet], now: int) -> list[Packet]:
        """What the engine itself sent, with the time of what was logged next, for it had none before it."""
        self._unstamped = False
        following = now
        for place in range(len(found) - 1, -1, -1):
            if found[place].ns < 0:
                found[place] = found[place]._replace(ns=following)
            following = found[place].ns
        return found

    def late(self, now: int) -> list[Packet]:
        """Packets whose other side never came."""
        return self._pairs.late(now)

    def take_gap(self) -> int:
        """How many records were missing in the sequence since the last call."""
        gap, self._gap = self._gap, 0
        return gap

    def _record(self, data: bytes, at: int, stop: int, found: list[Packet]) -> None:
        parts: dict[int, bytes] = {}
        unpack = _ATTRIBUTE.unpack_from
        while at + 4 <= stop:
            length, kind = unpack(data, at)
            if length < 4 or at + length > stop:
                break
            parts[kind] = data[at + 4 : at + length]
            at += (length + 3) & ~3
        self._count(parts.get(_SEQUENCE))
        prefix = parts.get(_PREFIX, b"")
        place = self._place(prefix)
        if place is None:
            return
        stamp = parts.get(_TIMESTAMP)
        if stamp is not None and len(stamp) == _STAMP.size:
            seconds, microseconds = _STAMP.unpack(stamp)
            self._stamp = seconds * 1_000_000_000 + microseconds * 1000
            self._stamped = True
        packet = self._packet(parts, place)
        if packet.point == "before":
            self._pairs.before(packet, found, first=place[2])
        elif packet.point == "after":
            self._pairs.after(packet, found, first=place[2])
            if prefix == HIDDEN:
                found.pop()
        elif packet.point == "sent" and not self._stamped:
            self._unstamped = True
            found.append(packet._replace(ns=-1))
        else:
            found.append(packet)

    def _place(self, prefix: bytes) -> Place | None:
        place = self._places.get(prefix)
        if place is None and prefix.startswith((b"drop:", b"dos:")):
            point, _, reason = prefix.rstrip(b"\0").decode(errors="replace").partition(":")
            place = self._places[prefix] = ("drop" if point == "drop" else "dos", "original", False, reason)
        return place

    def _packet(self, parts: dict[int, bytes], place: Place) -> Packet:
        data = parts.get(_PAYLOAD, b"")
        point, direction, _, reason = place
        device = parts.get(_OUT_DEVICE if point in ("after", "sent", "forward") else _IN_DEVICE, b"")
        mark = parts.get(_MARK)
        name = self._names.get(device)
        if name is None:
            name = self._named(device)
        return Packet(
            self._stamp, point, direction, _U32.unpack(mark)[0] if mark and len(mark) == 4 else 0, name, _length(data),
            data, b"", reason,
        )  # fmt: skip

    def _count(self, sequence: bytes | None) -> None:
        self.received += 1
        if sequence is None or len(sequence) != 4:
            return
        number = _U32.unpack(sequence)[0]
        if self._expected is not None and number != self._expected:
            self._gap += (number - self._expected) & 0xFFFFFFFF
        self._expected = (number + 1) & 0xFFFFFFFF

    def _named(self, device: bytes) -> str:
        index = int.from_bytes(device, "big")
        try:
            name = socket.if_indextoname(index)
        except (OSError, OverflowError):  # none, or gone already
            name = f"interface {index}" if index else ""
        self._names[device] = name
        return name


def _length(data: bytes) -> int:
    """The true length, from the IP header."""
    if data[:1] and data[0] >> 4 == 6 and len(data) >= 6:
        return 40 + int.from_bytes(data[4:6], "big")
    return int.from_bytes(data[2:4], "big") or len(data)


class Pairs:
    """Brings the two sides of packets together. What is certain goes to ``found``."""

    def __init__(self) -> None:
        self._held = HeldPackets()
        self._behind: dict[bytes, bytes] = {}
        self._ahead: dict[bytes, bytes] = {}

    def before(self, packet: Packet, found: list[Packet], *, first: bool) -> None:
        """A packet before translation; the ``first`` of a flow may turn out to be none of ours."""
        other = None if first else self._behind.get(_key(packet.data))
        if other is None:
            self._held.add(packet, certain=not first)
        else:
            found.append(packet._replace(other=other))

    def after(self, packet: Packet, found: list[Packet], *, first: bool) -> None:
        """A packet behind translation, and the one before it that was held for it."""
        key = _key(packet.data)
        other = None if first else self._ahead.get(key)
        if other is None:
            held = self._held.take(packet)
            if held is None:
                found.append(packet)
                return
            other = self._learn(held, packet, key)
            found.append(held._replace(mark=packet.mark, other=ends(packet.data)))
        found.append(packet._replace(other=other))

    def late(self, now: int) -> list[Packet]:
        """Packets that waited too long and are certain all the same."""
        self._held.expire(now - HeldPackets.NANOSECONDS)
        return self._held.take_late()

    def _learn(self, before: Packet, after: Packet, key: bytes) -> bytes:
        if len(self._behind) >= FLOWS:
            self._behind.clear()
            self._ahead.clear()
        other = self._ahead[key] = ends(before.data)
        self._behind[_key(before.data)] = ends(after.data)
        return other


def _key(data: bytes) -> bytes:
    """Protocol and ends; the usual case first."""
    if data[:1] == b"E" and data[9:10] in (b"\x06", b"\x11") and not data[6] & 0x1F and not data[7]:
        return data[9:10] + data[12:24]
    return data[9:10] + ends(data)


class HeldPackets:
    """Packets that wait to be recognised behind the translation; bounded in number and time."""

    LIMIT = 4096
    PER_KEY = 16
    NANOSECONDS = 2_000_000_000

    def __init__(self) -> None:
        self._waiting: dict[tuple[bytes, ...], list[tuple[Packet, bool]]] = {}
        self._count = 0
        self._late: list[Packet] = []

    def __len__(self) -> int:
        return self._count

    def add(self, packet: Packet, *, certain: bool = False) -> None:
        """Hold ``packet``; let go of what has waited too long, and of the oldest when there are too many."""
        alike = self._waiting.setdefault(fingerprint(packet.data), [])
        alike.append((packet, certain))
        self._count += 1
        if len(alike) > self.PER_KEY:
            self._let_go([alike.pop(0)])
        self.expire(packet.ns - self.NANOSECONDS)

    def take(self, after: Packet) -> Packet | None:
        """The held packet that ``after`` is the translation of: of those alike, the one with most ends unchanged."""
        key = fingerprint(after.data)
        alike = self._waiting.get(key)
        if not alike:
            return None
        best = alike[0]
        if len(alike) > 1:
            own = _ends(after.data)
            best = max(alike, key=lambda one: sum(a == b for a, b in zip(_ends(one[0].data), own, strict=True)))
        alike.remove(best)
        self._count -= 1
        if not alike:
            del self._waiting[key]
        return best[0]

    def take_late(self) -> list[Packet]:
        """Packets that were let go and are certain to be translated."""
        late, self._late = self._late, []
        return late

    def expire(self, before: int) -> None:
        """Let go of what came ``before``."""
        while self._waiting:
            key, alike = next(iter(self._waiting.items()))
            if self._count <= self.LIMIT and alike and alike[-1][0].ns >= before:
                return
            self._let_go(alike)
            del self._waiting[key]

    def _let_go(self, packets: list[tuple[Packet, bool]]) -> None:
        self._count -= len(packets)
        self._late += [packet for packet, certain in packets if certain]


def fingerprint(data: bytes) -> tuple[bytes, ...]:
    """What translation leaves alone of a packet: lengths, id, protocol, TCP sequence, ICMP type, payload."""
    if data[:1] and data[0] >> 4 == 6:
        start, fixed, protocol = 40, (data[4:7],), data[6:7]
    else:
        start, protocol = (data[0] & 0x0F) * 4 if data else 0, data[9:10]
        fixed = (data[2:8], protocol)  # type: ignore[assignment]
    match protocol:
        case b"\x06":  # TCP: sequence, acknowledgement, flags
            return (*fixed, data[start + 4 : start + 12], data[start + 13 : start + 14])
        case b"\x11":  # UDP: payload
            return (*fixed, data[start + 8 : start + 40])
        case b"\x01" | b"\x3a":  # ICMP: type, code, sequence, payload
            return (*fixed, data[start : start + 2], data[start + 6 : start + 40])
    return fixed


def _ends(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Source and destination address, source and destination port."""
    if data[:1] and data[0] >> 4 == 6:
        return data[8:24], data[24:40], data[40:42], data[42:44]
    start = (data[0] & 0x0F) * 4 if data else 0
    return data[12:16], data[16:20], data[start : start + 2], data[start + 2 : start + 4]

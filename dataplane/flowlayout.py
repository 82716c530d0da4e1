"""Connections out of a ctnetlink dump at speed: messages of one length nearly always have their parts in one place.

A ``Layout`` learns from one message where everything is; of the next only the headers are compared, which is ten times
faster than to take each apart. Whoever does not fit is taken apart.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from dataplane import netlink

_HEADER = struct.Struct("=HH")
_TUPLES = {1: "", 2: "reply_"}
_COUNTERS = {9: "", 10: "reply_"}
_PLAIN = {3: "status", 7: "timeout", 8: "mark"}
_ADDRESSES = {1: "src", 2: "dst", 3: "src", 4: "dst"}
_PORTS = {2: "sport", 3: "dport"}
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Place(NamedTuple):
    """A value in a message: its name, offset and format."""

    name: str
    offset: int
    format: str


class Layout:
    """Where the values of a message are, and by which headers another is known to be alike."""

    def __init__(self, body: bytes) -> None:
        headers: list[int] = []
        places = sorted(_places(body, headers), key=lambda place: place.offset)
        self.names = tuple(place.name for place in places)
        self._values = struct.Struct("!" + _format((place.offset, place.format) for place in places))
        self._headers = struct.Struct("=" + _format((offset, "4s") for offset in sorted(headers)))
        self._known = self._headers.unpack_from(body)

    def read(self, body: bytes) -> dict[str, Any] | None:
        """The values by name; None when the message is built differently."""
        if self._headers.unpack_from(body) != self._known:
            return None
        return dict(zip(self.names, self._values.unpack_from(body), strict=True))


def _format(places: Any) -> str:
    """A struct format that skips what lies between."""
    parts, at = [], 0
    for offset, kind in places:
        parts.append(f"{offset - at}x{kind}")
        at = offset + struct.calcsize("!" + kind)
    return "".join(parts)


def _attributes(body: bytes, start: int, end: int, headers: list[int]) -> Iterator[tuple[int, int, int]]:
    """Type, offset and end of the payload of each attribute; where its header is goes to ``headers``."""
    while start + 4 <= end:
        length, kind = _HEADER.unpack_from(body, start)
        if length < 4 or start + length > end:
            return
        headers.append(start)
        yield kind & netlink.TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


def _places(  # noqa: C901  (one branch per attribute)
    body: bytes, headers: list[int]
) -> Iterator[Place]:
    for kind, start, end in _attributes(body, 4, len(body), headers):
        if kind in _TUPLES:
            yield from _tuple(body, start, end, _TUPLES[kind], headers)
        elif kind in _COUNTERS:
            for inner, at, stop in _attributes(body, start, end, headers):
                if inner in (1, 2) and stop - at == 8:
                    yield Place(_COUNTERS[kind] + ("packets" if inner == 1 else "bytes"), at, "Q")
        elif kind in _PLAIN and end - start == 4:
            yield Place(_PLAIN[kind], start, "I")
        elif kind == 20:
            yield from (
                Place("start", at, "Q") for inner, at, _ in _attributes(body, start, end, headers) if inner == 1
            )
        elif kind == 4:
            for inner, at, stop in _attributes(body, start, end, headers):
                if inner == 1:
                    states = _attributes(body, at, stop, headers)
                    yield from (Place("tcp_state", where, "B") for which, where, _ in states if which == 1)


def _tuple(body: bytes, start: int, end: int, prefix: str, headers: list[int]) -> Iterator[Place]:
    for kind, at, stop in _attributes(body, start, end, headers):
        for inner, where, last in _attributes(body, at, stop, headers):
            if kind == 1 and inner in _ADDRESSES:
                yield Place(prefix + _ADDRESSES[inner], where, f"{last - where}s")
            elif kind == 2 and inner == 1 and not prefix:
                yield Place("protocol", where, "B")
            elif kind == 2 and inner in _PORTS:
                yield Place(prefix + _PORTS[inner], where, _FORMATS.get(last - where, f"{last - where}s"))


@lru_cache(maxsize=1 << 16)
def address(data: bytes) -> str:
    """An address as text; the same ones come again and again."""
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


class Layouts:
    """The layouts met so far, by length of the message."""

    def __init__(self) -> None:
        self._known: dict[int, Layout] = {}

    def read(self, body: bytes) -> dict[str, Any]:
        """The values of a message; keys as of a flow, addresses as bytes, "start" in ns, "tcp_state" a number."""
        layout = self._known.get(len(body))
        values = layout.read(body) if layout is not None else None
        if values is None:
            layout = self._known[len(body)] = Layout(body)
            values = layout.read(body) or {}
        return values

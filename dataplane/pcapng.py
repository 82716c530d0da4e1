"""pcapng and pcap, block by block: one section, its interfaces as they turn up, packets with comments."""

from __future__ import annotations

import functools
import heapq
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from dataplane.taps import LINK_ETHERNET, LINK_RAW, Blocks, Port

ENHANCED_PACKET = 6
_SECTION_HEADER = 0x0A0D0D0A
_INTERFACE = 1
_STATISTICS = 5
_BYTE_ORDER = 0x1A2B3C4D
_UNKNOWN_LENGTH = -1
_OPT_END = 0
_OPT_COMMENT = 1
_OPT_USER_APPLICATION = 4
_OPT_INTERFACE_NAME = 2
_OPT_INTERFACE_DESCRIPTION = 3
_OPT_TIME_RESOLUTION = 9
_OPT_PACKET_FLAGS = 2
_OPT_DROPPED = 5
_OPTION_MAX = 0xFFFF
_NANOSECONDS = 9
_INBOUND, _OUTBOUND = 1, 2
_PCAP_NANOSECONDS = 0xA1B23C4D
_ETHERNET_OF_NOBODY = bytes(12)
_HEAD = struct.Struct("<II")
_PACKET = struct.Struct("<IIIIIII")
_U32 = struct.Struct("<I")
_WINDOW = 200_000
"""Packets that are put in order at once."""


class Entry(NamedTuple):
    """A packet for a file; ``source``: of the interface, in words."""

    port: Port
    source: str
    ns: int
    data: bytes
    length: int
    comment: str = ""
    outbound: bool = False


class Encoder(Protocol):
    """Bytes of a capture file; what is put together in the order of the calls can be read at any length."""

    suffix: str

    def header(self) -> bytes: ...
    def packets(self, entries: Iterable[Entry]) -> bytes: ...
    def blocks(self, blocks: Blocks, source: str, prefix: str) -> bytes: ...


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _text_option(code: int, text: str) -> bytes:
    """Text as UTF-8; what does not fit into an option is cut off."""
    value = text.encode(errors="replace")
    return _option(code, value if len(value) <= _OPTION_MAX else value[:_OPTION_MAX].decode(errors="ignore").encode())


def _options(options: list[bytes]) -> bytes:
    return b"".join(options) + _option(_OPT_END, b"")


@functools.cache
def packet_options(*, outbound: bool) -> bytes:
    """The options of a packet without a comment."""
    return _options([_option(_OPT_PACKET_FLAGS, struct.pack("<I", _OUTBOUND if outbound else _INBOUND))])


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    total = len(body) + len(options) + 12
    return b"".join((_HEAD.pack(kind, total), body, options, _U32.pack(total)))


class PcapngEncoder:
    """One section; ``snaplen`` 0: packets are kept whole. ``comment`` is about the section."""

    suffix = "pcapng"

    def __init__(self, *, snaplen: int = 0, application: str = "avish", comment: str = "") -> None:
        self._snaplen = snaplen
        self._about = [_text_option(_OPT_COMMENT, comment)] if comment else []
        self._about.append(_text_option(_OPT_USER_APPLICATION, application))
        self._numbers: dict[tuple[Port, str], int] = {}

    def header(self) -> bytes:
        """Begins a section, without interfaces."""
        self._numbers.clear()
        return _block(_SECTION_HEADER, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH), _options(self._about))

    def packets(self, entries: Iterable[Entry]) -> bytes:
        """Packet blocks, and those of the interfaces that are new."""
        parts: list[bytes] = []
        add, pack, numbers = parts.append, _PACKET.pack, self._numbers
        flags = {out: packet_options(outbound=out) for out in (True, False)}
        for port, source, ns, data, length, comment, outbound in entries:
            number = numbers.get((port, source))
            if number is None:
                number = self._interface(port, source, parts)
            options = _text_option(_OPT_COMMENT, comment) + flags[outbound] if comment else flags[outbound]
            kept = len(data)
            fill = -kept % 4
            total = 32 + kept + fill + len(options)
            add(pack(ENHANCED_PACKET, total, number, ns >> 32, ns & 0xFFFFFFFF, kept, max(length, kept)))
            add(data)
            add(bytes(fill) + options + _U32.pack(total))
        return b"".join(parts)

    def blocks(self, blocks: Blocks, source: str, prefix: str) -> bytes:
        """Blocks as they are, but for the numbers of their interfaces; ``prefix`` goes before an interface's name."""
        parts: list[bytes] = []
        ports = [Port(f"{prefix}{port.name}", port.link) for port in blocks.ports]
        numbers = [
            self._numbers[port, source] if (port, source) in self._numbers else self._interface(port, source, parts)
            for port in ports
        ]
        if numbers == list(range(len(numbers))):
            parts.append(blocks.data)
        else:
            parts.append(_renumbered(blocks.data, numbers))
        return b"".join(parts)

    def statistics(self, ns: int, dropped: int) -> bytes:
        """Says how many packets are missing of the section."""
        if not self._numbers:
            return b""
        body = struct.pack("<III", 0, ns >> 32, ns & 0xFFFFFFFF)
        return _block(_STATISTICS, body, _options([_option(_OPT_DROPPED, struct.pack("<Q", dropped))]))

    def _interface(self, port: Port, source: str, parts: list[bytes]) -> int:
        options = [_text_option(_OPT_INTERFACE_NAME, port.name)]
        options += [_text_option(_OPT_INTERFACE_DESCRIPTION, source)] if source else []
        options.append(_option(_OPT_TIME_RESOLUTION, bytes([_NANOSECONDS])))
        parts.append(_block(_INTERFACE, struct.pack("<HHI", port.link, 0, self._snaplen), _options(options)))
        number = self._numbers[port, source] = len(self._numbers)
        return number


class PcapEncoder:
    """The old format: no comments, no interfaces. Bare IP packets get the Ethernet header of nobody."""

    suffix = "pcap"

    def __init__(self, *, snaplen: int = 0) -> None:
        self._snaplen = snaplen or 262_144

    def header(self) -> bytes:
        """Begins a file."""
        return struct.pack("<IHHiIII", _PCAP_NANOSECONDS, 2, 4, 0, 0, self._snaplen, LINK_ETHERNET)

    def packets(self, entries: Iterable[Entry]) -> bytes:
        """Records."""
        return b"".join(_record(entry.ns, entry.data, entry.length, entry.port.link) for entry in entries)

    def blocks(self, blocks: Blocks, source: str, prefix: str) -> bytes:  # noqa: ARG002  (there are no interfaces)
        """Records of packet blocks."""
        found = each_packet(blocks.data)
        return b"".join(_record(one.ns, one.data, one.length, blocks.ports[one.number].link) for one in found)


def _record(ns: int, data: bytes, length: int, link: int) -> bytes:
    if link == LINK_RAW:
        kind = b"\x86\xdd" if data[:1] and data[0] >> 4 == 6 else b"\x08\x00"
        data, length = _ETHERNET_OF_NOBODY + kind + data, length + 14
    seconds, rest = divmod(ns, 1_000_000_000)
    return struct.pack("<IIII", seconds, rest, len(data), max(length, len(data))) + data


class Found(NamedTuple):
    """A packet block: where it is, and what is in it; ``number`` of the interface."""

    offset: int
    size: int
    number: int
    ns: int
    data: bytes
    length: int
    options: bytes


def each_packet(data: bytes) -> Iterator[Found]:
    """The packets of blocks that stand one behind the other."""
    offset, end = 0, len(data)
    while offset + 32 <= end:
        kind, size, number, high, low, kept, length = _PACKET.unpack_from(data, offset)
        if size < 12 or offset + size > end:
            return
        if kind == ENHANCED_PACKET:
            first = offset + _PACKET.size
            options = data[first + kept + (-kept % 4) : offset + size - 4]
            yield Found(offset, size, number, (high << 32) + low, data[first : first + kept], length, options)
        offset += size


def outbound(options: bytes) -> bool:
    """Whether the options of a packet say that it went out."""
    return options == packet_options(outbound=True)


def _renumbered(data: bytes, numbers: list[int]) -> bytes:
    changed = bytearray(data)
    offset, end = 0, len(changed)
    while offset < end:
        size, number = struct.unpack_from("<II", changed, offset + 4)
        _U32.pack_into(changed, offset + 8, numbers[number])
        offset += size
    return bytes(changed)


def merge(sources: Iterable[Path], sink: IO[bytes]) -> int:
    """One file of many, of one section each, in the order of time; gives the number of packets.

    Packets that are further out of order than a window stay so. Raises OSError, ValueError for what is no pcapng.
    """
    numbers: dict[bytes, int] = {}
    waiting: list[tuple[int, int, bytes]] = []
    count = 0
    for place, path in enumerate(sources):
        own: list[int] = []
        for kind, block in _file_blocks(path):
            if kind == _SECTION_HEADER and place == 0:
                sink.write(block)
            elif kind == _INTERFACE:
                if block not in numbers:
                    numbers[block] = len(numbers)
                    sink.write(block)
                own.append(numbers[block])
            elif kind == ENHANCED_PACKET:
                count += 1
                high, low = struct.unpack_from("<II", block, 12)
                moved = block[:8] + _U32.pack(own[struct.unpack_from("<I", block, 8)[0]]) + block[12:]
                heapq.heappush(waiting, ((high << 32) + low, count, moved))
                if len(waiting) > _WINDOW:
                    sink.write(heapq.heappop(waiting)[2])
    while waiting:
        sink.write(heapq.heappop(waiting)[2])
    return count


def _file_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Kind and bytes of each whole block."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            kind, size = _HEAD.unpack(head)
            if size < 12 or size % 4 or (file.tell() == 8 and kind != _SECTION_HEADER):
                raise ValueError(f"{path} is no pcapng file")
            rest = file.read(size - 8)
            if len(rest) < size - 8:
                return  # still written
            yield kind, head + rest

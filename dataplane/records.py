"""Batches of packets as bytes, for the way from the tap to the controller: JSON would take longer than the packets."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from dataplane.errors import UnreachableError
from dataplane.taps import Batch, Blocks, Direction, Packet, Point, Port

_POINTS: tuple[Point, ...] = get_args(Point)
_DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_HEAD = struct.Struct("<QBBHIIIBB")
"""ns, point, direction, port, mark, length, bytes kept, bytes of the other side's ends, bytes of the reason."""


class Packer:
    """Makes documents and payloads of batches; a port gets its number when it is first seen."""

    def __init__(self) -> None:
        self._ports: dict[Port, int] = {}

    def pack(self, batch: Batch) -> tuple[dict[str, Any], bytes]:
        """{"count", "packets": bytes of them, "ports", "blocks", "block_ports"}, and the payload itself."""
        packets = b"".join(map(self._record, batch.packets))
        blocks = batch.blocks or Blocks(b"", 0, ())
        document = {
            "packets": len(packets),
            "ports": [list(port) for port in self._ports],
            "blocks": blocks.count,
            "block_ports": [list(port) for port in blocks.ports],
        }
        return document, packets + blocks.data

    def _record(self, packet: Packet) -> bytes:
        port = Port(packet.interface, packet.link)
        number = self._ports.setdefault(port, len(self._ports))
        reason = packet.reason.encode()[:255]
        head = _HEAD.pack(
            packet.ns, _POINTS.index(packet.point), _DIRECTIONS.index(packet.direction), number, packet.mark,
            packet.length, len(packet.data), len(packet.other), len(reason),
        )  # fmt: skip
        return b"".join((head, packet.data, packet.other, reason))


def unpack(document: dict[str, Any], payload: bytes) -> Batch:
    """The batch again. Raises UnreachableError for what is none."""
    try:
        size = int(document["packets"])
        packets = list(_records(payload, size, _ports(document["ports"])))
        blocks = int(document["blocks"])
        found = Blocks(payload[size:], blocks, _ports(document["block_ports"])) if blocks else None
    except (KeyError, ValueError, TypeError, IndexError, struct.error) as error:
        raise UnreachableError(f"packets of a tap cannot be understood: {error}") from error
    return Batch(packets, found)


def _ports(pairs: Iterable[Sequence[Any]]) -> tuple[Port, ...]:
    return tuple(Port(str(name), int(link)) for name, link in pairs)


def _records(data: bytes, end: int, ports: tuple[Port, ...]) -> Iterable[Packet]:
    offset, size, unpack_head = 0, _HEAD.size, _HEAD.unpack_from
    while offset < end:
        ns, point, direction, port, mark, length, kept, other, reason = unpack_head(data, offset)
        first = offset + size
        second, third = first + kept, first + kept + other
        offset = third + reason
        if offset > end:
            raise ValueError("a packet has no end")
        name, link = ports[port]
        yield Packet(
            ns, _POINTS[point], _DIRECTIONS[direction], mark, name, length, data[first:second], data[second:third],
            data[third:offset].decode() if reason else "", link,
        )  # fmt: skip

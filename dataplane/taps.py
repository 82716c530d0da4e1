"""What is asked of a tap, and what it gives: values only.

A tap listens at some of the ``KINDS``. "nat" and "service" show every packet of a translated flow twice, before and
after translation; "routing" once, on its way through; "drop" and "dos" say why in ``Packet.reason``; "probe" are the
engine's own health checks; "rx" and "tx" are whole interfaces; "ipc" what engines tell each other (VRRP, conntrackd).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from dataplane.model import AddressMatch

Kind = Literal["nat", "service", "routing", "drop", "dos", "probe", "rx", "tx", "ipc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Point = Literal["before", "after", "forward", "drop", "dos", "sent", "received"]
Direction = Literal["original", "reply"]

LINK_ETHERNET = 1
LINK_RAW = 101
"""Packets start at the IP header."""

CONNTRACKD_PORT = 3780


@dataclass(frozen=True, slots=True)
class PortRange:
    """True for a port from ``first`` to ``last`` (or, ``negate``, for any other)."""

    first: int
    last: int
    negate: bool = False


@dataclass(frozen=True, slots=True)
class FlagMatch:
    """True when one (``every``: each) of the TCP flags in ``mask`` is set; ``negate``: when that is not so."""

    mask: int
    every: bool = False
    negate: bool = False


@dataclass(frozen=True, slots=True)
class PacketMatch:
    """True when all that is given holds; of ``hosts`` each is asked of source or destination."""

    hosts: tuple[AddressMatch, ...] = ()
    source_ports: tuple[PortRange, ...] = ()
    destination_ports: tuple[PortRange, ...] = ()
    flags: tuple[FlagMatch, ...] = ()
    tcp: bool = False
    ipv4: bool = False


@dataclass(frozen=True, slots=True)
class CaptureSpec:
    """What to tap. Bytes kept of a packet: ``snaplen``, 0 keeps all.

    ``matches``: a packet is kept when one of them holds; none given keeps every packet. ``services``: whose flows
    "service" takes; ``clients``: only flows that these opened; ``servers``: the addresses that probes go to.
    With "service" also what ``servers`` open to the clients from one of ``data_ports`` (active FTP).
    ``interface``: of "rx" and "tx"; "" is every one but the loopback.
    """

    kinds: tuple[Kind, ...]
    snaplen: int = 256
    matches: tuple[PacketMatch, ...] = ()
    services: tuple[int, ...] = ()
    clients: AddressMatch | None = None
    servers: tuple[str, ...] = ()
    data_ports: tuple[int, ...] = ()
    interface: str = ""


class Packet(NamedTuple):
    """A tapped packet, as the kernel had it at ``point`` of its way.

    ``ns`` since the epoch; ``direction`` of the connection: "original" as it was opened, or "reply"; ``mark``: see
    NAT_MARK; ``data`` is at most the snap length, ``length`` the true one; ``link``: what ``data`` starts with.
    ``other``: the packet's ends on the other side of the translation, as ``ends`` gives them, b"" when unknown.
    """

    ns: int
    point: Point
    direction: Direction
    mark: int
    interface: str
    length: int
    data: bytes
    other: bytes = b""
    reason: str = ""
    link: int = LINK_RAW

    @property
    def time(self) -> float:
        """Seconds since the epoch."""
        return self.ns / 1e9


class Port(NamedTuple):
    """An interface as a capture file describes it."""

    name: str
    link: int


@dataclass(frozen=True, slots=True)
class Blocks:
    """Packets of whole interfaces, ready for a file: ``count`` pcapng packet blocks, numbered as ``ports`` says."""

    data: bytes
    count: int
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a tap gave at once."""

    packets: list[Packet]
    blocks: Blocks | None = None

    @property
    def count(self) -> int:
        """How many packets."""
        return len(self.packets) + (self.blocks.count if self.blocks else 0)


def ends(data: bytes) -> bytes:
    """Source and destination address, source and destination port of an IP packet, in network order.

    12 bytes of IPv4, 36 of IPv6; b"" for what has no ports (of ICMP the identifier counts as both).
    """
    if len(data) < 20:
        return b""
    version = data[0] >> 4
    if version == 4:
        if data[6] & 0x1F or data[7]:
            return b""  # a later fragment
        start, addresses, protocol = (data[0] & 15) * 4, data[12:20], data[9]
    elif version == 6 and len(data) >= 40:
        start, addresses, protocol = 40, data[8:40], data[6]
    else:
        return b""
    if protocol in (6, 17, 132):
        ports = data[start : start + 4]
    elif protocol in (1, 58):
        ports = data[start + 4 : start + 6] * 2
    else:
        return b""
    return addresses + ports if len(ports) == 4 else b""

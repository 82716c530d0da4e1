"""Telling the neighbours where an address is: gratuitous ARP, and unsolicited neighbour advertisements."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address

from dataplane.failover_model import Pair
from dataplane.links import gratuitous_arp
from dataplane.model import Address, version
from dataplane.probe_raw import checksum

_ETHERTYPES = {4: 0x0806, 6: 0x86DD}
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ADVERTISEMENT, _OVERRIDE = 136, 0x20
_NEXT_ICMP, _HOPS = 58, 255


def everywhere(addresses: Iterable[Address], pair: Pair) -> None:
    """Tell of each address on its interface; those on the loopback device on every link of the pair. Raises OSError."""
    every = list(addresses)
    for link in pair.links:
        told = [one.ip for one in every if one.interface in ("", link.interface)]
        if told:
            _tell(link.interface, told)


def _tell(interface: str, addresses: Iterable[str]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
        packets.bind((interface, 0))
        for frame in _frames(packets.getsockname()[4], addresses):
            packets.send(frame)


def _frames(mac: bytes, addresses: Iterable[str]) -> Iterator[bytes]:
    for ip in addresses:
        if version(ip) == 4:
            yield from (gratuitous_arp(mac, ip, operation) for operation in (1, 2))
        else:
            yield advertisement(mac, ip)


def advertisement(mac: bytes, ip: str) -> bytes:
    """The Ethernet frame in which an IPv6 address announces itself to everybody."""
    address = IPv6Address(ip).packed
    body = struct.pack("!BBHB3x", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address + b"\x02\x01" + mac
    pseudo = address + _ALL_NODES + struct.pack("!IxxxB", len(body), _NEXT_ICMP)
    body = body[:2] + checksum(pseudo + body) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _NEXT_ICMP, _HOPS) + address + _ALL_NODES
    return _ALL_NODES_MAC + mac + _ETHERTYPES[6].to_bytes(2, "big") + header + body

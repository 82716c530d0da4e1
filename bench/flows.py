"""Many connections in a namespace's table at once: written there by netlink, as conntrackd does on a standby."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv4Address

from dataplane import netlink
from dataplane.agent import enter

_NEW = netlink.netfilter_type(1, 0)
_CREATE, _EXCLUSIVE = 0x400, 0x200
_SECONDS = 3600


def fill(count: int, mark: int, client: str, vip: str, server: str) -> None:
    """``count`` established TCP connections of the service with that mark, from ``client`` on upwards."""
    first = int(IPv4Address(client))
    header = netlink.netfilter_header(socket.AF_INET)
    with netlink.Netlink() as kernel:
        for number in range(count):
            source, port = IPv4Address(first + number // 60000), 1024 + number % 60000
            kernel.request(_NEW, header + _connection(source.packed, port, mark, vip, server), _CREATE | _EXCLUSIVE)


def _connection(source: bytes, port: int, mark: int, vip: str, server: str) -> bytes:
    to, answers = IPv4Address(vip).packed, IPv4Address(server).packed
    return (
        netlink.nested(1, _addresses(source, to), _ports(port, 21))
        + netlink.nested(2, _addresses(answers, source), _ports(21, port))
        + netlink.nested(4, netlink.nested(1, netlink.attribute(1, b"\3")))
        + netlink.big32(3, 0xE)
        + netlink.big32(7, _SECONDS)
        + netlink.big32(8, mark)
    )


def _addresses(source: bytes, destination: bytes) -> bytes:
    return netlink.nested(1, netlink.attribute(1, source), netlink.attribute(2, destination))


def _ports(source: int, destination: int) -> bytes:
    pairs = netlink.attribute(2, source.to_bytes(2, "big")), netlink.attribute(3, destination.to_bytes(2, "big"))
    return netlink.nested(2, netlink.attribute(1, b"\6"), *pairs)


if __name__ == "__main__":
    space, count, mark, client, vip, server = sys.argv[1:]
    enter(space)
    fill(int(count), int(mark, 0), client, vip, server)

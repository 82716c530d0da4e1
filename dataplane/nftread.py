"""Raw questions to nftables: nft itself loads all there is before it answers any."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from dataplane import netlink

_SUBSYSTEM, _GET_TABLES, _GET_ELEMENTS, _GET_GENERATION = 10, 1, 13, 16
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_TABLE_NAME, _GENERATION = 1, 1
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HEADER_SIZE = 4
_DUMP_TRIES = 5


def generation() -> int:
    """A number that every change of any table of the namespace makes another. Raises NetlinkError."""
    with netlink.Netlink() as kernel:
        found = kernel.request(netlink.netfilter_type(_SUBSYSTEM, _GET_GENERATION), netlink.netfilter_header(0))
    return int.from_bytes(netlink.parse(found[0].body, _HEADER_SIZE)[_GENERATION], "big")


def tables() -> list[tuple[str, str]]:
    """Family and name of all tables of the namespace, others' too. Raises NetlinkError."""
    with netlink.Netlink() as kernel:
        kind = netlink.netfilter_type(_SUBSYSTEM, _GET_TABLES)
        found = list(kernel.dump(kind, netlink.netfilter_header(socket.AF_UNSPEC)))
    return [(_FAMILIES[one.body[0]], text(netlink.parse(one.body, _HEADER_SIZE)[_TABLE_NAME])) for one in found]


def dump(kind: int, body: bytes) -> list[dict[int, bytes]]:
    """The attributes of all objects of a kind; empty when the table is not there.

    A dump that a commit ran into is taken again.
    """
    for _ in range(_DUMP_TRIES):
        try:
            with netlink.Netlink() as kernel:
                found = list(kernel.dump(netlink.netfilter_type(_SUBSYSTEM, kind), body))
        except netlink.NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        if not any(message.flags & netlink.DUMP_INTR for message in found):
            break
    return [netlink.parse(message.body, _HEADER_SIZE) for message in found]


def elements(family: int, table: str, name: str) -> list[dict[int, bytes]]:
    """The attributes of all elements of a set or map; empty when it is not there. Raises NetlinkError."""
    body = netlink.netfilter_header(family) + netlink.text(_LIST_TABLE, table) + netlink.text(_LIST_SET, name)
    found = [each for part in dump(_GET_ELEMENTS, body) for _, each in netlink.each(part.get(_LIST_ELEMENTS, b""))]
    return [netlink.parse(each) for each in found]


def get(kind: int, bodies: Iterable[bytes]) -> list[dict[int, bytes]]:
    """The attributes of single objects, without those that are not there. Raises NetlinkError."""
    found = []
    with netlink.Netlink() as kernel:
        for body in bodies:
            try:
                found += kernel.request(netlink.netfilter_type(_SUBSYSTEM, kind), body)
            except netlink.NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
    return [netlink.parse(message.body, _HEADER_SIZE) for message in found]


def text(data: bytes) -> str:
    """A name in an attribute."""
    return data.rstrip(b"\0").decode()

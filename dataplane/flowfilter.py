"""What of a ``FlowMatch`` the kernel selects by itself, and the rest."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from dataplane import netlink
from dataplane.model import EVERY_FLOW, FlowMatch, Row

Wanted = Callable[[Row], bool]
_TUPLE, _FILTER, _ORIGINAL_FLAGS = 1, 25, 1
_IP_SOURCE, _IP_DESTINATION, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT = 1 << 0, 1 << 1, 1 << 3, 1 << 4, 1 << 5
_PORTED = (6, 17, 132)
_ANY_PORT = (0, 65535)


def in_kernel(match: FlowMatch) -> tuple[tuple[int, ...], bytes]:
    """The address families to dump, and the attributes that make the kernel leave out what has another exact value.

    Without a family the kernel takes no such attributes.
    """
    named = {_family(text) for text in (match.src, match.dst, match.any_ip, match.server[0]) if text}
    if len(named) > 1:
        return (), b""
    families = tuple(named)
    addresses, flags = b"", 0
    for text, v4, v6, flag in ((match.src, 1, 3, _IP_SOURCE), (match.dst, 2, 4, _IP_DESTINATION)):
        if text and "/" not in text:
            packed = ip_address(text).packed
            addresses += netlink.attribute(v4 if len(packed) == 4 else v6, packed)
            flags |= flag
    parts = [netlink.nested(1, addresses)] if addresses else []
    transport, more = _transport(match)
    flags |= more
    if transport:
        parts.append(netlink.nested(2, transport))
    if not flags:
        return families or (socket.AF_UNSPEC,), b""
    selected = netlink.attribute(_ORIGINAL_FLAGS, flags.to_bytes(4, sys.byteorder))
    return families or (socket.AF_INET, socket.AF_INET6), netlink.nested(_TUPLE, *parts) + netlink.nested(
        _FILTER, selected
    )


def _transport(match: FlowMatch) -> tuple[bytes, int]:
    if not match.protocol:
        return b"", 0
    data, flags = netlink.attribute(1, bytes([match.protocol])), _PROTOCOL
    if match.protocol in _PORTED:
        for (first, last), kind, flag in ((match.sport, 2, _SOURCE_PORT), (match.dport, 3, _DESTINATION_PORT)):
            if first == last:
                data += netlink.attribute(kind, first.to_bytes(2, "big"))
                flags |= flag
    return data, flags


def _family(text: str) -> int:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def predicate(match: FlowMatch) -> Wanted | None:
    """Whether a row is wanted; None: every one is."""
    if match == EVERY_FLOW:
        return None
    tests = list(_tests(match))
    return lambda row: all(test(row) for test in tests)


def _tests(match: FlowMatch) -> list[Wanted]:
    tests: list[Wanted] = []
    if match.protocol:
        tests.append(lambda row: row["protocol"] == match.protocol)
    for text, keys in (
        (match.src, ("src",)),
        (match.dst, ("dst",)),
        (match.any_ip, ("src", "dst", "reply_src", "reply_dst")),
        (match.server[0], ("reply_src",)),
    ):
        if text:
            tests.append(_inside(text, keys))
    for bounds, key in ((match.sport, "sport"), (match.dport, "dport")):
        if bounds != _ANY_PORT:
            tests.append(_between(bounds, key))
    if match.any_port:
        ends = ("sport", "dport", "reply_sport", "reply_dport")
        tests.append(lambda row: any(row[end] == match.any_port for end in ends))
    if match.server[1]:
        tests.append(lambda row: row["reply_sport"] == match.server[1])
    return tests


def _inside(text: str, keys: tuple[str, ...]) -> Wanted:
    """Whether one of the ends is the address, or in the prefix."""
    if "/" not in text:
        wanted = str(ip_address(text))
        return lambda row: any(row[key] == wanted for key in keys)
    network = ip_network(text, strict=False)
    known: dict[str, bool] = {}

    def within(ip: str) -> bool:
        found = known.get(ip)
        if found is None:
            found = known[ip] = ip_address(ip) in network
        return found

    return lambda row: any(within(row[key]) for key in keys)


def _between(bounds: tuple[int, int], key: str) -> Wanted:
    first, last = bounds
    return lambda row: first <= row[key] <= last

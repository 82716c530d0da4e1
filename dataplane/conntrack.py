"""Connections of the current namespace, by a raw ctnetlink dump that the kernel filters by mark."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

from dataplane import netlink, sysctl
from dataplane.model import Row

_SUBSYSTEM, _GET = 1, 1
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_INFO, _TIMEOUT, _MARK = 1, 2, 3, 4, 7, 8
_COUNTERS_ORIGINAL, _COUNTERS_REPLY, _TIMESTAMP, _MARK_MASK = 9, 10, 20, 21
_ASSURED = 0x4
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_ICMP_TIMEOUTS = {_ICMP: "icmp_timeout", _ICMP6: "icmpv6_timeout"}
_EVERY_VERSION = socket.AF_UNSPEC
_TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip
_SETTINGS = "net/netfilter/nf_conntrack_"
_U64 = struct.Struct("!Q")
_HEADER_SIZE = 4


def flows(mark: int, mask: int) -> Iterator[Row]:
    """The connections whose mark & mask == mark, as ``dataplane.driver.Driver.flows`` describes them."""
    body = netlink.netfilter_header(_EVERY_VERSION) + netlink.big32(_MARK, mark) + netlink.big32(_MARK_MASK, mask)
    timeouts = Timeouts()
    now = time.time()
    with netlink.Netlink() as kernel:
        for message in kernel.dump(netlink.netfilter_type(_SUBSYSTEM, _GET), body):
            yield row(netlink.parse(message.body, _HEADER_SIZE), now, timeouts)


class Timeouts:
    """How long the kernel keeps a connection after its last packet, in seconds, by protocol and state."""

    def __init__(self) -> None:
        self._known: dict[str, int | None] = {}

    def of(self, protocol: int, state: str, status: int) -> int | None:
        """None when it cannot be told."""
        if protocol == _TCP:
            return self._setting(f"tcp_timeout_{state.lower()}")
        if protocol == _UDP:
            return self._setting("udp_timeout_stream" if status & _ASSURED else "udp_timeout")
        return self._setting(_ICMP_TIMEOUTS.get(protocol, "generic_timeout"))

    def _setting(self, name: str) -> int | None:
        if name not in self._known:
            try:
                self._known[name] = int(sysctl.read(_SETTINGS + name))
            except (OSError, ValueError):  # no such state or setting
                self._known[name] = None
        return self._known[name]


def row(attributes: dict[int, bytes], now: float, timeouts: Timeouts) -> Row:
    """One connection from its attributes. ``now`` in seconds since the epoch."""
    protocol, src, sport, dst, dport = _tuple(attributes[_ORIGINAL])
    _, reply_src, reply_sport, reply_dst, reply_dport = _tuple(attributes[_REPLY])
    status = _number(attributes.get(_STATUS))
    state = _tcp_state(attributes.get(_PROTOCOL_INFO))
    timeout = _number(attributes.get(_TIMEOUT))
    age = _age(attributes.get(_TIMESTAMP), now)
    packets, size = _counters(attributes.get(_COUNTERS_ORIGINAL))
    reply_packets, reply_size = _counters(attributes.get(_COUNTERS_REPLY))
    return {
        "protocol": protocol,
        "src": src,
        "sport": sport,
        "dst": dst,
        "dport": dport,
        "reply_src": reply_src,
        "reply_sport": reply_sport,
        "reply_dst": reply_dst,
        "reply_dport": reply_dport,
        "status": status,
        "mark": _number(attributes.get(_MARK)),
        "state": state,
        "timeout": timeout,
        "age": age,
        "last_used": _last_used(timeouts.of(protocol, state, status), timeout, age),
        "packets": packets,
        "bytes": size,
        "reply_packets": reply_packets,
        "reply_bytes": reply_size,
    }


def _tuple(data: bytes) -> tuple[int, str, int, str, int]:
    """Protocol, source, source port, destination, destination port."""
    parts = netlink.parse(data)
    addresses, transport = netlink.parse(parts[1]), netlink.parse(parts[2])
    return (
        transport[1][0],
        _address(addresses, 1),
        int.from_bytes(transport.get(2, b""), "big"),
        _address(addresses, 2),
        int.from_bytes(transport.get(3, b""), "big"),
    )


def _address(parts: dict[int, bytes], place: int) -> str:
    """IPv6 addresses have types of their own, two above those of IPv4."""
    if place in parts:
        return socket.inet_ntoa(parts[place])
    return socket.inet_ntop(socket.AF_INET6, parts[place + 2])


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big")


def _tcp_state(data: bytes | None) -> str:
    if data is None:
        return ""
    tcp = netlink.parse(netlink.parse(data).get(1, b""))
    if 1 not in tcp:
        return ""
    number = tcp[1][0]
    return _TCP_STATES[number] if number < len(_TCP_STATES) else str(number)


def _age(data: bytes | None, now: float) -> int | None:
    if data is None:
        return None
    start = netlink.parse(data).get(1)
    return None if start is None else max(0, int(now - _U64.unpack(start)[0] / 1e9))


def _last_used(full: int | None, remaining: int, age: int | None) -> int | None:
    """None when the kernel evidently used another timeout than the state's (retransmission, state just changed)."""
    if full is None or remaining > full:
        return None
    idle = full - remaining
    return None if age is not None and idle > age + 1 else idle


def _counters(data: bytes | None) -> tuple[int, int]:
    """Packets, bytes."""
    parts = netlink.parse(data or b"")
    return _number(parts.get(1)), _number(parts.get(2))

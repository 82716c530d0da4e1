"""Connections of the current namespace, by a raw ctnetlink dump that the kernel filters by mark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from dataplane import flowfilter, netlink, sysctl
from dataplane.flowlayout import Layouts, address
from dataplane.model import EVERY_FLOW, FlowMatch, Row

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_MARK, _MARK_MASK = 8, 21
_ASSURED, SEEN_REPLY = 0x4, 0x2
_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_ICMP_TIMEOUTS = {_ICMP: "icmp_timeout", _ICMP6: "icmpv6_timeout"}
_TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip
_SETTINGS = "net/netfilter/nf_conntrack_"


def flows(mark: int, mask: int, match: FlowMatch = EVERY_FLOW) -> Iterator[Row]:
    """The connections whose mark & mask == mark, as ``dataplane.driver.Driver.flows`` describes them."""
    families, selected = flowfilter.in_kernel(match)
    marked = netlink.big32(_MARK, mark) + netlink.big32(_MARK_MASK, mask) + selected
    wanted = flowfilter.predicate(match)
    timeouts, layouts = Timeouts(), Layouts()
    now = time.time()
    with netlink.Netlink() as kernel:
        for family in families:
            body = netlink.netfilter_header(family) + marked
            for message in kernel.dump(netlink.netfilter_type(_SUBSYSTEM, _GET), body):
                found = row(layouts.read(message.body), now, timeouts)
                if wanted is None or wanted(found):
                    yield found


def forget(mark: int, mask: int) -> int:
    """Delete the connections whose mark & mask == mark; how many there were. Raises NetlinkError."""
    body = netlink.netfilter_header(0) + netlink.big32(_MARK, mark) + netlink.big32(_MARK_MASK, mask)
    with netlink.Netlink() as kernel:
        there = sum(1 for _ in kernel.dump(netlink.netfilter_type(_SUBSYSTEM, _GET), body))
        kernel.request(netlink.netfilter_type(_SUBSYSTEM, _DELETE), body)
    return there


def row(values: dict[str, Any], now: float, timeouts: Timeouts) -> Row:
    """One connection from the values that a ``Layout`` read. ``now`` in seconds since the epoch."""
    get = values.get
    protocol, status, timeout = get("protocol", 0), get("status", 0), get("timeout", 0)
    number = get("tcp_state")
    state = "" if number is None else _TCP_STATES[number] if number < len(_TCP_STATES) else str(number)
    start = get("start")
    age = None if start is None else max(0, int(now - start / 1e9))
    return {
        "protocol": protocol,
        "src": address(values["src"]),
        "sport": get("sport", 0),
        "dst": address(values["dst"]),
        "dport": get("dport", 0),
        "reply_src": address(values["reply_src"]),
        "reply_sport": get("reply_sport", 0),
        "reply_dst": address(values["reply_dst"]),
        "reply_dport": get("reply_dport", 0),
        "status": status,
        "mark": get("mark", 0),
        "state": state,
        "timeout": timeout,
        "age": age,
        "last_used": _last_used(timeouts.of(protocol, state, status), timeout, age),
        "packets": get("packets", 0),
        "bytes": get("bytes", 0),
        "reply_packets": get("reply_packets", 0),
        "reply_bytes": get("reply_bytes", 0),
    }


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


def ending(found: Row) -> str:
    """In which state a connection ended: of TCP the kernel's word, else REPLIED or UNREPLIED."""
    return str(found["state"]) or ("REPLIED" if found["status"] & SEEN_REPLY else "UNREPLIED")


def _last_used(full: int | None, remaining: int, age: int | None) -> int | None:
    """None when the kernel evidently used another timeout than the state's (retransmission, state just changed)."""
    if full is None or remaining > full:
        return None
    idle = full - remaining
    return None if age is not None and idle > age + 1 else idle

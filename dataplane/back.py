"""Answers go back to where the question came from: to the hardware address, out of the interface; no route is asked.

Of every IPv4 host behind a router, the kernel remembers for a while by which interface its packets came and which
hardware address they bore. Packets of the answering side are marked with that interface; a rule by that mark leads to
a table whose only route goes to a next hop that is nobody, and when such a packet leaves, the remembered address is
put in the place of nobody's. What is meant for the engine, and for hosts of its own networks, goes its usual way.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_interface
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from dataplane import links, nftrun, rtnetlink, sysctl
from dataplane.errors import RefusedError
from dataplane.model import Interface, version

TABLE = "avish_back"
_NOBODY, _NOBODYS = "169.254.252.254", "02:00:5e:90:00:fe"
_MARK, _ROUTES, _FIRST_RULE, _LAST_RULE = 0x5E900000, 52000, 900, 999
_SECONDS = 600
_PERMANENT, _ON_LINK = 0x80, "onlink"
_loaded: list[str] = []
"""The commands that this process has carried out last."""
_MAP = f"flags dynamic,timeout; timeout {_SECONDS}s; size 65536;"


def rules(interfaces: Iterable[Interface]) -> str:
    """The commands that make both tables what they should be, in one transaction. What is remembered is forgotten."""
    every = list(interfaces)
    lines = [f"add table {family} {TABLE}\ndelete table {family} {TABLE}" for family in ("netdev", "ip")]
    return "\n".join([*lines, *_frames(every), *_packets(every), ""])


def _frames(interfaces: list[Interface]) -> Iterator[str]:
    """Who bore which address, and to put it in."""
    yield f"table netdev {TABLE} {{"
    for one in interfaces:
        known, hook = f"macs_{one.index}", f'device "{one.name}" priority'
        yield f"map {known} {{ type ipv4_addr : ether_addr; {_MAP} }}"
        yield f"chain in_{one.index} {{ type filter hook ingress {hook} -400;"
        yield f"meta pkttype host {_far(one)} update @{known} {{ ip saddr : ether saddr }}"
        yield "}"
        yield f"chain out_{one.index} {{ type filter hook egress {hook} -600;"
        yield f"ether daddr {_NOBODYS} ether daddr set ip daddr map @{known} accept"
        yield f"ether daddr {_NOBODYS} drop"
        yield "}"
    yield "}"


def _packets(interfaces: list[Interface]) -> Iterator[str]:
    """By which interface they came; answers are marked, also those that the kernel gives for itself (to a ping)."""
    yield f"table ip {TABLE} {{"
    yield f"map ways {{ type ipv4_addr : mark; {_MAP} }}"
    yield "chain ask { type filter hook prerouting priority -310;"
    for one in interfaces:
        yield f'iifname "{one.name}" {_far(one)} update @ways {{ ip saddr : {_mark(one)} }}'
    yield "}"
    yield "chain answer { type filter hook prerouting priority -150;"
    yield "ct direction reply meta mark set ct original ip saddr map @ways"
    yield "}"
    yield "chain own { type filter hook input priority -150;"
    yield "ct direction original meta mark set ip saddr map @ways"
    yield "}"
    yield "}"


def _far(one: Interface) -> str:
    """Matches what comes from beyond the networks of an interface."""
    networks = {str(ip_interface(text).network) for text in _addresses(one)}
    return f"ip saddr != {{ {', '.join(sorted(networks))} }}"


def _addresses(one: Interface) -> list[str]:
    return [text for text in one.addresses if version(text) == 4]


def _mark(one: Interface) -> str:
    return f"{_MARK | one.index:#010x}"


def follow(*, on: bool) -> None:
    """Make it so, whatever is there. Raises RefusedError."""
    try:
        with IPRoute() as kernel:
            there = _rules(kernel)
            if not on and not there:
                return
            found = [one for one in links.interfaces(ours=False) if one.up and _addresses(one)] if on else []
            commands = rules(found) if on else _removal()
            if _loaded == [commands] and not faults(on=on):
                return  # what is remembered stays so
            for rule in there:
                _remove(kernel, rule)
            nftrun.load(commands)
            _loaded[:] = [commands]
            sysctl.reflect_marks(on=on)
            for place, one in enumerate(found[: _LAST_RULE - _FIRST_RULE]):
                _lead(kernel, one, _FIRST_RULE + place)
    except links.ERRORS as error:
        raise RefusedError(f"answers cannot be sent back where the question came from: {error}") from error


def faults(*, on: bool) -> list[str]:
    """How the kernel differs from that, in words. Raises ``links.ERRORS``."""
    with IPRoute() as kernel:
        there = len(_rules(kernel))
    if not on:
        return ["rules that send answers back are left"] if there else []
    wanted = sum(one.up and bool(_addresses(one)) for one in links.interfaces(ours=False))
    found = [] if there == wanted else [f"{there} of {wanted} rules that send answers back are there"]
    tables = (("netdev", nftrun.gate_listing(TABLE)), ("ip", nftrun.ip_listing(TABLE)))
    return found + [f"nftables table {family} {TABLE} is missing" for family, text in tables if text is None]


def _removal() -> str:
    return "".join(f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n" for family in ("netdev", "ip"))


def _rules(kernel: IPRoute) -> list[Any]:
    found = [rule for rule in kernel.get_rules(family=2) if (rule.get_attr("FRA_FWMARK") or 0) & ~0xFFFF == _MARK]
    return [rule for rule in found if _FIRST_RULE <= (rule.get_attr("FRA_PRIORITY") or 0) <= _LAST_RULE]


def _lead(kernel: IPRoute, one: Interface, priority: int) -> None:
    table = _ROUTES + one.index
    kernel.neigh("replace", dst=_NOBODY, lladdr=_NOBODYS, ifindex=one.index, state=_PERMANENT)
    kernel.route(
        "replace", dst="0.0.0.0/0", gateway=_NOBODY, oif=one.index, table=table, flags=[_ON_LINK], proto=rtnetlink.OWN
    )
    kernel.rule("add", priority=priority, fwmark=_MARK | one.index, table=table)


def _remove(kernel: IPRoute, rule: Any) -> None:
    """The rule, and what it leads to; the interface may be gone, and that with it."""
    mark, index = rule.get_attr("FRA_FWMARK"), rule.get_attr("FRA_FWMARK") & 0xFFFF
    table = rule.get_attr("FRA_TABLE")
    kernel.rule("del", priority=rule.get_attr("FRA_PRIORITY"), fwmark=mark, table=table)
    with suppress(NetlinkError):
        kernel.flush_routes(table=table)
    try:
        kernel.neigh("del", dst=_NOBODY, ifindex=index)
    except NetlinkError as error:
        if error.code not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
            raise

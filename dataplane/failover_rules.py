"""The texts of failover: the gate in nftables, the configurations of keepalived and conntrackd. Pure.

The gate is a table of the netdev family, in front of everything: addresses of a pair, and packets to be passed on, are
let in and out only while the set ``live`` of the pair has its element. The element ends by itself after the time of
three heartbeats; every heartbeat (VRRP advertisement) that leaves the engine renews it, in the kernel, whoever sleeps.
An engine whose element has ended cannot renew it: its heartbeats are dropped, until the agent has seen that it is not
the active one, and puts the one element into ``fresh`` that the first heartbeat of the next election takes.

A pair with a virtual hardware address has it written into what leaves, also into the ARP messages that the kernel makes
with that of the interface; what comes for it is taken for the engine's while it is live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dataplane.failover_model import Pair
from dataplane.model import Address, version

TABLE = "avish_pair"
_VRRP = {4: "ip protocol 112 @th,8,8", 6: "ip6 nexthdr 112 @th,8,8"}
_IN, _OUT = "meta iiftype", "meta oiftype"
_PRIORITY = {True: 150, False: 100}


def gate(pairs: Mapping[int, Pair], addresses: Iterable[Address], own: Iterable[str]) -> str:
    """The commands that make the gate what it should be, in one transaction; who is live stays so.

    ``own``: the addresses of the engine itself, which are never gated.
    """
    every = list(addresses)
    lines = [f"table netdev {TABLE} {{"]
    lines += [line for number, pair in pairs.items() for line in _sets(number, pair)]
    lines += ["set own4 {", "type ipv4_addr", "}", "set own6 {", "type ipv6_addr", "}"]
    interfaces = sorted({link.interface for pair in pairs.values() for link in pair.links})
    for place, interface in enumerate(interfaces):
        lines += [f"chain in_{place} {{", f'type filter hook ingress device "{interface}" priority -500', "}"]
        lines += [f"chain out_{place} {{", f'type filter hook egress device "{interface}" priority -500', "}"]
    lines += ["chain gate_in {", "}", "chain gate_out {", "}", "}"]
    names = [*(f"in_{n}" for n in range(len(interfaces))), *(f"out_{n}" for n in range(len(interfaces)))]
    lines += [f"flush chain netdev {TABLE} {name}" for name in (*names, "gate_in", "gate_out")]
    lines += [_rule(f"in_{n}", "goto gate_in") for n in range(len(interfaces))]
    lines += [_rule(f"out_{n}", "goto gate_out") for n in range(len(interfaces))]
    lines += [_rule("gate_in", text) for text in _rules_in(pairs)]
    lines += [_rule("gate_out", text) for number, pair in pairs.items() for text in _rules_out(number, pair)]
    lines += [_rule("gate_out", text) for text in _rules_vmac(pairs)]
    for number in pairs:
        lines += [f"flush set netdev {TABLE} held{family}_{number}" for family in (4, 6)]
    lines += [f"flush set netdev {TABLE} own{family}" for family in (4, 6)]
    lines += _filled("own", own)
    for number in pairs:
        lines += _filled("held", (one.ip for one in every if one.pair == number), f"_{number}")
    return "\n".join([*lines, ""])


def removal() -> str:
    """The commands that take the gate away, whether it is there or not."""
    return f"add table netdev {TABLE}\ndelete table netdev {TABLE}\n"


def held(put: Iterable[Address], dropped: Iterable[Address]) -> str:
    """The commands after which more, or fewer, addresses are gated."""
    lines = [line for one in put if one.pair for line in _filled("held", [one.ip], f"_{one.pair}")]
    for one in dropped:
        if one.pair:
            name = f"held{version(one.ip)}_{one.pair}"
            lines += [f"add element netdev {TABLE} {name} {{ {one.ip} }}"]
            lines += [f"delete element netdev {TABLE} {name} {{ {one.ip} }}"]
    return "\n".join([*lines, ""]) if lines else ""


def armed(number: int) -> str:
    """The commands that let the first heartbeat of the next election make the engine live."""
    return f"add element netdev {TABLE} fresh_{number} {{ ether }}\n"


def silenced(number: int) -> str:
    """The commands after which the engine answers no longer."""
    return f"flush set netdev {TABLE} live_{number}\n"


def _sets(number: int, pair: Pair) -> Iterator[str]:
    timed = ["type iface_type", "flags dynamic,timeout", f"timeout {round(1000 * pair.silence)}ms", "size 4"]
    yield from (f"set live_{number} {{", *timed, "}")
    yield from (f"set fresh_{number} {{", "type iface_type", "flags dynamic", "size 4", "}")
    for family in (4, 6):
        yield from (f"set held{family}_{number} {{", f"type ipv{family}_addr", "}")


def _rule(chain: str, text: str) -> str:
    return f"add rule netdev {TABLE} {chain} {text}"


def _filled(name: str, addresses: Iterable[str], suffix: str = "") -> list[str]:
    every = list(addresses)
    found = {family: [ip for ip in every if version(ip) == family] for family in (4, 6)}
    return [
        f"add element netdev {TABLE} {name}{family}{suffix} {{ {', '.join(ips)} }}"
        for family, ips in found.items()
        if ips
    ]


def _rules_in(pairs: Mapping[int, Pair]) -> Iterator[str]:
    """Addresses of a pair only while it is live; what is to be passed on while any of them is."""
    for number, pair in pairs.items():
        if pair.vmac:
            yield f"ether daddr {pair.vmac} {_IN} @live_{number} meta pkttype set host"
        quiet = f"{_IN} != @live_{number} drop"
        yield f"arp daddr ip @held4_{number} {quiet}"
        yield f"ip daddr @held4_{number} {quiet}"
        yield f"ip6 daddr @held6_{number} {quiet}"
    yield "meta pkttype != host accept"
    for number in pairs:
        yield f"ip daddr @held4_{number} accept"
        yield f"ip6 daddr @held6_{number} accept"
        yield f"{_IN} @live_{number} accept"
    yield "ip daddr != @own4 drop"
    yield "ip6 daddr fe80::/10 accept"
    yield "ip6 daddr != @own6 drop"


def _rules_out(number: int, pair: Pair) -> Iterator[str]:
    """A heartbeat of priority 0 ends the engine's time at once: it has stopped."""
    timed = f"update @live_{number} {{ {_OUT} timeout {round(1000 * pair.silence)}ms }}"
    for family in sorted({version(link.own) for link in pair.links}):
        ours = f"{_VRRP[family]} {number}"
        yield f"{ours} @th,16,8 0 delete @live_{number} {{ {_OUT} }} accept"
        yield f"{ours} {_OUT} @live_{number} {timed} accept"
        yield f"{ours} {_OUT} @fresh_{number} delete @fresh_{number} {{ {_OUT} }} {timed} accept"
        yield f"{ours} drop"
    quiet = f"{_OUT} != @live_{number} drop"
    yield f"arp saddr ip @held4_{number} {quiet}"
    yield f"ip saddr @held4_{number} {quiet}"
    yield f"ip6 saddr @held6_{number} {quiet}"


def _rules_vmac(pairs: Mapping[int, Pair]) -> Iterator[str]:
    """What is passed on bears it too: bridges forget where a hardware address is from which nothing comes."""
    virtual = {number: pair.vmac for number, pair in pairs.items() if pair.vmac}
    for number, vmac in virtual.items():
        yield f"arp saddr ip @held4_{number} ether saddr set {vmac} arp saddr ether set {vmac} accept"
        yield f"ip saddr @held4_{number} ether saddr set {vmac} accept"
    for number, vmac in list(virtual.items())[:1]:
        yield f"ip saddr != @own4 {_OUT} @live_{number} ether saddr set {vmac}"


def keepalived(number: int, pair: Pair, notices: Path) -> str:
    """The configuration of keepalived, which only elects: its own address is a dummy on the loopback device."""
    names = [f"pair{number}_{place}" for place, _ in enumerate(pair.links)]
    lines = [
        "global_defs {", "vrrp_version 3", f"vrrp_notify_fifo {notices}", "vrrp_priority -20", "vrrp_rt_priority 20",
        "vrrp_skip_check_adv_addr", "}",
        f"vrrp_sync_group pair{number} {{", "group {", *names, "}", "}",
    ]  # fmt: skip
    for name, link in zip(names, pair.links, strict=True):
        lines += [
            f"vrrp_instance {name} {{", "state BACKUP", f"interface {link.interface}", f"virtual_router_id {number}",
            f"priority {_PRIORITY[pair.preferred]}", f"advert_int {pair.heartbeat:.2f}",
            *([] if pair.preempt else ["nopreempt"]),
            f"unicast_src_ip {link.own}", "unicast_peer {", link.peer, "}",
            "virtual_ipaddress {", _dummy(number, version(link.own)), "}", "}",
        ]  # fmt: skip
    return "\n".join([*lines, ""])


def _dummy(number: int, family: int) -> str:
    """What keepalived wants: an address of the family it speaks, the first of IPv6 a link-local one."""
    return f"fe80::fc:{number}/128 dev lo" if family == 6 else f"169.254.252.{number}/32 dev lo scope link"


def conntrackd(pair: Pair, folder: Path, own: Iterable[str]) -> str:
    """The configuration of conntrackd: flows go straight into the kernel of the peer, over the last common network.

    One of IPv4, if there is any.
    """
    link = next((one for one in reversed(pair.links) if version(one.own) == 4), pair.links[-1])
    family = f"IPv{version(link.own)}"
    ignored = sorted({one for one in own if not one.startswith("fe80:")} | {"127.0.0.1", "::1"})
    return "\n".join(
        [
            "Sync {", "Mode FTFW {", "DisableExternalCache on", "}",
            "UDP {", f"{family}_address {link.own}", f"{family}_Destination_Address {link.peer}", "Port 3780",
            f"Interface {link.interface}", "SndSocketBuffer 1249280", "RcvSocketBuffer 1249280", "Checksum on",
            "}", "}",
            "General {", "HashSize 32768", "HashLimit 1048576", "LogFile off", "Syslog off",
            f"LockFile {folder}/conntrackd.lock", "UNIX {", f"Path {folder}/conntrackd.sock", "}",
            "NetlinkBufferSize 2097152", "NetlinkBufferSizeMaxGrowth 8388608", "NetlinkEventsReliable on",
            "Filter From Kernelspace {", "Protocol Accept {", "TCP", "UDP", "}",
            "Address Ignore {", *(f"IPv{version(one)}_address {one}" for one in ignored), "}", "}", "}", "",
        ]
    )  # fmt: skip

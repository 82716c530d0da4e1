"""The nftables text of a tap: one table of its own, whose rules log what is asked for. Pure.

A base chain tells the flows of a kind apart and goes to the chain of its log, through one stage per condition of the
filter: a stage goes on to the next or returns. The prefix of the log says kind, point and direction. nft 1.0.6 merges
neighbouring comparisons of header fields wrongly when they are negated: each has a line of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from dataplane.model import AddressMatch
from dataplane.taps import CaptureSpec, FlagMatch, PacketMatch, PortRange

TRACE = "trace"
"""The chain that lets the kernel trace a packet; what is traced is counted apart from what is logged."""
TRACES_PER_SECOND = 5000
"""New connections whose way is traced for drops: a trace costs the kernel ten times a log."""

_BEFORE = -150  # conntrack is at -200, destination NAT at -100
_AFTER = 150  # source NAT is at 100
_FIRST = -290  # before conntrack
_LATE = -90  # behind destination NAT
_LOGGED = 64
_SYN_FLOOD, _ICMP_FLOOD = "limit rate over 200/second burst 200 packets", "limit rate over 100/second burst 100 packets"
_Stage = tuple[str, ...]
"""Lines; NEXT in them is where to go on."""
_NEXT = "NEXT"


@dataclass
class _Table:
    """Chains in the making."""

    group: int
    stages: tuple[tuple[_Stage, ...], ...]
    base: dict[str, list[str]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    def chain(self, name: str, hook: str, priority: int, lines: Iterable[str]) -> None:
        self.heads[name] = f"type filter hook {hook} priority {priority}; policy accept;"
        self.base.setdefault(name, []).extend(lines)

    def log(self, prefix: str, *, marked: bool = False, variant: str = "") -> str:
        """The verdict that logs with ``prefix`` what passes the filter; ``marked``: the conntrack mark goes along.

        The packet mark is lent to the log statement and is 0 again behind it. ``variant``: for another filter.
        """
        name = f"log{variant}_" + "".join(char if char.isalnum() else "_" for char in prefix)
        statement = f'counter log prefix "{prefix}" group {self.group} queue-threshold {_LOGGED}'
        lines = ["meta mark set ct mark", statement, "meta mark set 0"] if marked else [statement]
        return self.filtered(name, lines)

    def filtered(self, name: str, lines: list[str]) -> str:
        """The verdict that does ``lines`` with what passes the filter, and then ends the base chain."""
        if name in self.chains or f"{name}_end" in self.chains:
            return f"jump {name}"
        if not self.stages:
            self.chains[name] = [*lines, "accept"]
            return f"jump {name}"
        self.chains[f"{name}_end"] = [*lines, "accept"]
        entries = []
        for number, alternative in enumerate(self.stages):
            target = f"{name}_end"
            for place in reversed(range(len(alternative))):
                own = f"{name}_{number}_{place}"
                self.chains[own] = [line.replace(_NEXT, f"goto {target}") for line in alternative[place]]
                target = own
            entries.append(f"jump {target}" if target != f"{name}_end" else f"goto {target}")
        self.chains[name] = entries
        return f"jump {name}"

    def text(self, name: str, sets: str) -> str:
        parts = [f"chain {one} {{\n    " + "\n    ".join(lines) + "\n  }" for one, lines in self._ordered()]
        body = "\n  ".join([*([sets] if sets else []), *parts])
        return f"add table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n  {body}\n}}\n"

    def _ordered(self) -> Iterable[tuple[str, list[str]]]:
        """A chain stands behind those it goes to."""
        yield from ((name, self.chains[name]) for name in _behind(self.chains))
        yield from ((name, [self.heads[name], *lines]) for name, lines in self.base.items())


def _behind(chains: dict[str, list[str]]) -> list[str]:
    """Names, those that others go to first."""
    done: dict[str, None] = {}

    def visit(name: str) -> None:
        for line in chains[name]:
            target = line.rpartition(" ")[2]
            if target in chains and target not in done:
                visit(target)
        done.setdefault(name)

    for name in chains:
        visit(name)
    return list(done)


def ruleset(spec: CaptureSpec, table: str, group: int) -> str:
    """The nft text that puts the tap in place, instead of what a dead process may have left there; "" for no rules."""
    made = _Table(group, tuple(_stages(match) for match in spec.matches))
    if "nat" in spec.kinds:
        _flows(made, "ct mark != 0 ct status snat,dnat", spec, "saddr")
    if "service" in spec.kinds:
        marks = ", ".join(str(number) for number in spec.services) or "0xffffffff"
        _flows(made, f"ct mark {{ {marks} }}", spec, "saddr")
        for condition in _data(spec):
            _flows(made, condition, spec, "daddr", variant="_data")
    if "routing" in spec.kinds:
        routed = "ct mark 0 ct status & (snat | dnat) == 0 fib saddr type != local"  # only here translation is known
        made.chain("routed", "postrouting", _AFTER, [f"{routed} {made.log('forward-routing')}"])
    if "probe" in spec.kinds:
        _probes(made, spec.servers)
    sets = _attacks(made) if "dos" in spec.kinds else ""
    if "drop" in spec.kinds:
        _drops(made)
    return made.text(table, sets) if made.base else ""


def _data(spec: CaptureSpec) -> Iterator[str]:
    """Connections that servers open to clients from a port of ``data_ports``: active FTP, translated or not."""
    for port in spec.data_ports:
        for words, found in _by_version(spec.servers).items():
            opened = f"ct original {words} saddr {{ {', '.join(found)} }} meta l4proto tcp ct original proto-src {port}"
            yield f"ct mark & 0x80000000 != 0 {opened}"
            yield f"ct mark 0 {opened}"


def _flows(made: _Table, condition: str, spec: CaptureSpec, client: str, variant: str = "") -> None:
    """Every packet of certain flows, before and after; the first of a flow is not yet known for what it is."""
    every = made.stages
    if spec.clients is not None:
        opened = _client_stage(spec.clients, client)
        made.stages = tuple((opened, *stage) for stage in every) or ((opened,),)

    def log(prefix: str) -> str:
        return made.log(prefix, marked=prefix != "before-first", variant=variant)

    before = [f"{condition} ct direction {way} {log(f'before-{way}')}" for way in ("original", "reply")]
    before.append(f"ct status & (confirmed | snat | dnat) == 0 {log('before-first')}")
    made.chain("before", "prerouting", _BEFORE, before)
    first = f"{condition} ct status & confirmed == 0"
    after = [f"{first} {log('after-first')}"]
    stages = made.stages
    if spec.matches:
        made.stages = ()
        after.append(f"{first} {log('after-hidden')}")  # not wanted itself, but tells whose the one before it is
        made.stages = stages
    after += [f"{condition} ct direction {way} {log(f'after-{way}')}" for way in ("original", "reply")]
    made.chain("after", "postrouting", _AFTER, after)
    made.stages = every


def _probes(made: _Table, servers: tuple[str, ...]) -> None:
    """What the engine itself says to servers, and hears from them."""
    for words, found in _by_version(servers).items():
        listed = ", ".join(found)
        made.chain("sent", "output", _AFTER, [f"{words} daddr {{ {listed} }} {made.log('sent-probe')}"])
        made.chain(
            "received",
            "input",
            _AFTER,
            [f"ct direction reply {words} saddr {{ {listed} }} {made.log('received-probe')}"],
        )


def _attacks(made: _Table) -> str:
    """Packets that no well-meaning host sends; gives the sets that count."""
    every = "(fin | syn | rst | psh | ack | urg)"
    syn = f"tcp flags & (fin | syn | rst | ack) == syn update @{{0}} {{{{ {{1}} saddr {_SYN_FLOOD} }}}}"
    ping = f"{{2}} type echo-request update @{{0}} {{{{ {{1}} saddr {_ICMP_FLOOD} }}}}"
    rules = {
        "TCP packet without a flag": f"tcp flags & {every} == 0x0",
        "TCP packet with FIN, PSH and URG (christmas tree)": "tcp flags & (fin | psh | urg) == fin | psh | urg",
        "TCP packet with SYN and FIN": "tcp flags & (syn | fin) == syn | fin",
        "TCP packet with SYN and RST": "tcp flags & (syn | rst) == syn | rst",
        "source address is our own": "iif != lo fib saddr type local",
    }
    lines = [f"{rule} {made.log(f'dos:{reason}')}" for reason, rule in rules.items()]
    for words, icmp, version in (("ip", "icmp", 4), ("ip6", "icmpv6", 6)):
        lines.append(
            syn.format(f"syn{version}", words) + f" {made.log('dos:more than 200 SYN a second from one source')}"
        )
        lines.append(
            ping.format(f"ping{version}", words, icmp)
            + f" {made.log('dos:more than 100 pings a second from one source')}"
        )
    made.chain("attacks", "prerouting", _FIRST, lines)
    kinds = {"syn4": "ipv4_addr", "ping4": "ipv4_addr", "syn6": "ipv6_addr", "ping6": "ipv6_addr"}
    return "\n  ".join(
        f"set {name} {{ type {kind}; size 65536; flags dynamic,timeout; timeout 10s; }}" for name, kind in kinds.items()
    )


def _drops(made: _Table) -> None:
    """What routing is going to drop is told by a log; what rules drop, by the kernel's trace of new connections."""
    routed = "fib daddr type != { local, broadcast, anycast, multicast }"
    lines = [
        f"{routed} ip ttl {{ 0, 1 }} {made.log('drop:time to live is over')}",
        f"{routed} ip6 hoplimit {{ 0, 1 }} {made.log('drop:time to live is over')}",
        f"{routed} fib daddr oif missing {made.log('drop:no route to the destination')}",
        f"iif != lo fib saddr type {{ local, broadcast, multicast }} {made.log('drop:martian source address')}",
    ]
    made.chain("unroutable", "prerouting", _LATE, lines)
    traced = made.filtered(TRACE, ["meta nftrace set 1"])
    made.chain(
        "tracing",
        "prerouting",
        _BEFORE + 1,
        [f"ct state new,invalid,untracked limit rate {TRACES_PER_SECOND}/second {traced}"],
    )


def _stages(match: PacketMatch) -> tuple[_Stage, ...]:
    """The conditions of a match, one stage each."""
    stages = [_host_stage(host) for host in match.hosts]
    stages += [_port_stage("sport", ports) for ports in match.source_ports]
    stages += [_port_stage("dport", ports) for ports in match.destination_ports]
    stages += [_flag_stage(flags) for flags in match.flags]
    stages += [(f"meta l4proto tcp {_NEXT}",)] if match.tcp else []
    stages += [(f"meta nfproto ipv4 {_NEXT}",)] if match.ipv4 else []
    return tuple(stages)


def _host_stage(match: AddressMatch) -> _Stage:
    lines = [
        f"{words} {end} {{ {', '.join(found)} }} "
        for words, found in _by_version(match.elements).items()
        for end in ("saddr", "daddr")
    ]
    return _decided(lines, negate=match.negate)


def _client_stage(match: AddressMatch, end: str) -> _Stage:
    """The client is at one ``end`` of the connection as it was opened."""
    lines = [
        f"ct original {words} {end} {{ {', '.join(found)} }} " for words, found in _by_version(match.elements).items()
    ]
    return _decided(lines, negate=match.negate)


def _decided(lines: list[str], *, negate: bool) -> _Stage:
    """Go on where one of the lines is true (``negate``: where none is)."""
    if negate:
        return (*(f"{line}return" for line in lines), _NEXT)
    return tuple(f"{line}{_NEXT}" for line in lines) or ("return",)


def _port_stage(side: str, ports: PortRange) -> _Stage:
    value = str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"
    return (f"meta l4proto {{ tcp, udp }} th {side} {'!= ' if ports.negate else ''}{value} {_NEXT}",)


def _flag_stage(match: FlagMatch) -> _Stage:
    test = f"== 0x{match.mask:x}" if match.every else "!= 0x0"
    if match.negate:
        test = f"!= 0x{match.mask:x}" if match.every else "== 0x0"
    return (f"tcp flags & 0x{match.mask:x} {test} {_NEXT}",)


def _by_version(elements: Iterable[str]) -> dict[str, list[str]]:
    """Words "ip" and "ip6" -> what sets of addresses hold: intervals that do not overlap."""
    intervals: dict[str, list[tuple[int, int]]] = {}
    for element in elements:
        first, last = _interval(element)
        intervals.setdefault("ip" if first.version == 4 else "ip6", []).append((int(first), int(last)))
    return {words: _merged(words, sorted(found)) for words, found in intervals.items()}


Address = IPv4Address | IPv6Address


def _interval(element: str) -> tuple[Address, Address]:
    if "-" in element:
        first, last = (ip_address(part.strip()) for part in element.split("-"))
        return first, last
    network = ip_network(element, strict=False)
    return network.network_address, network.broadcast_address


def _merged(words: str, intervals: list[tuple[int, int]]) -> list[str]:
    merged: list[tuple[int, int]] = []
    for first, last in intervals:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    make = IPv4Address if words == "ip" else IPv6Address
    return [f"{make(first)}" if first == last else f"{make(first)}-{make(last)}" for first, last in merged]

"""What the namespace of a service engine should hold, or does hold.

An ``SeState`` is a value: tables, each a mapping from a key to a frozen value. Every table is compared,
planned and applied in the same way (``dataplane.diff``); what an entry means to the kernel is the drivers' business.
Addresses are text in canonical form ("10.0.0.1", "fd00::1"), prefixes "10.0.0.0/24", ports numbers, protocols
lower-case names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dataplane.failover_model import Pair
from dataplane.health_model import Probe, Watch

Protocol = Literal["tcp", "udp"]
AddressKind = Literal["vip", "floating", "nat"]

NAT_MARK = 0x80000000
"""Conntrack mark of a flow: the id of its service, or NAT_MARK | id of its NAT rule; 0: merely routed."""


def service_counter(number: int) -> str:
    """The name of the counter of a service: connections."""
    return f"service_{number}"


def security_counter(number: int, index: int) -> str:
    """The name of the counter of a rule of a service's security policy: connections that it decided."""
    return f"service_{number}_rule_{index}"


def over_counter(number: int, limit: str) -> str:
    """The name of the counter of what a limit of a service did not let pass.

    ``limit``: "rate", "client_rate" and "connections" of ``Limits``, "rule_INDEX" of a rule that limits.
    """
    return f"service_{number}_over_{limit}"


def nat_counters(number: int) -> tuple[str, str]:
    """The names of the counters of a NAT rule: how many flows were compared with it, how many it took."""
    return f"nat_{number}_evaluated", f"nat_{number}_hits"


@dataclass(frozen=True, slots=True)
class Address:
    """An address the engine answers for besides its own; ``interface`` "" puts it on the loopback device.

    ``pair``: number of the pair whose active engine alone answers for it; 0: this engine does.
    """

    ip: str
    interface: str
    kind: AddressKind
    pair: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """A static route; ``interface`` "" lets the kernel choose by the gateway."""

    prefix: str
    gateway: str
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Destination address, protocol and ports (inclusive) that a service takes.

    ``ip`` may be a prefix "10.0.0.0/8": then packets to all its addresses that come by are taken, unless another
    service has the address itself or (of two prefixes there is never a choice) another listener the port.
    """

    ip: str
    protocol: Protocol
    first: int
    last: int

    @property
    def version(self) -> int:
        """4 or 6."""
        return version(self.ip)


def version(address: str) -> int:
    """The IP version, 4 or 6, of an address, prefix or range."""
    return 6 if ":" in address else 4


Picker = Literal["round_robin", "random", "least_connections", "source_hash", "source_port_hash"]


@dataclass(frozen=True, slots=True)
class Persistence:
    """Clients whose addresses agree in the first ``prefix`` bits (an IPv4 address has 32) keep their server.

    Until ``seconds`` have passed in which none of their packets went there. A client whose server is down gets another
    one, or ("abort") is refused, or ("insist") is sent there all the same.
    """

    prefix: int
    seconds: int
    recovery: Literal["another", "abort", "insist"] = "another"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A server that gets no new connections; those it has go on for ``seconds`` (0: are reset now, -1: for ever).

    ``returning``: new connections of clients that are bound to it by persistence still go there.
    """

    ip: str
    port: int
    seconds: int
    returning: bool = False


@dataclass(frozen=True, slots=True)
class AddressMatch:
    """True for an address in (or, ``negate``, in none of) ``elements``: "a", "p/len" or "a-b"; empty: in nothing."""

    elements: tuple[str, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class PortMatch:
    """True for a port in (or, ``negate``, in none of) ``ports`` and ``ranges`` (first and last); TCP and UDP only."""

    ports: tuple[int, ...]
    negate: bool = False
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ProtocolMatch:
    """True for ``protocol`` (or, ``negate``, for any other): "tcp", "udp", "icmp", "sctp"."""

    protocol: str
    negate: bool = False


Period = Literal["second", "minute", "hour", "day", "week"]


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` connections in each ``period``, at most ``burst`` at once (0: as many as the kernel thinks right).

    Beyond it new connections are dropped, or (``reset``) answered so.
    """

    count: int
    period: Period = "second"
    burst: int = 0
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service takes at most: new connections of all clients, of each client address; ``connections``: open
    at a time (0: no limit), those beyond are refused.
    """

    rate: Rate | None = None
    client_rate: Rate | None = None
    connections: int = 0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What each server of a pool takes at most; beyond it connections are refused. 0 and None: no limit."""

    connections: int = 0
    rate: Rate | None = None


NO_SERVER_LIMITS = ServerLimits()


@dataclass(frozen=True, slots=True)
class Match:
    """A connection for which everything given holds: client's address and port, port of the service, protocol."""

    source: AddressMatch | None = None
    source_port: PortMatch | None = None
    port: PortMatch | None = None
    protocol: ProtocolMatch | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """Servers for the connections of a service that ``match``; the other fields are as in Service."""

    match: Match
    picker: Picker
    slots: tuple[tuple[str, int], ...]
    keep_port: bool = False
    leaving: tuple[Leaving, ...] = ()
    server_limits: ServerLimits = NO_SERVER_LIMITS
    reserve: tuple[tuple[tuple[str, int], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class SecurityRule:
    """What to do with connections that ``match``: the first rule decides, connections that none matches are allowed.

    "limit" allows them up to ``rate`` and drops the rest. ``index`` names the rule and its counter.
    """

    index: int
    match: Match
    action: Literal["allow", "deny", "limit"]
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Ftp:
    """The kernel follows the control connections on ``ports``; data connections of the modes not wanted are reset."""

    ports: tuple[int, ...]
    active: bool = True
    passive: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """A load-balanced service.

    ``slots`` are the servers in the order the picker walks or hashes over, a server as often as its weight says;
    connections stay within one IP version, so each version has its own: listeners of a version without slots refuse new
    connections. Open connections to servers that are neither in ``slots`` nor ``leaving`` are reset.
    ``keep_port`` leaves the destination port alone. ``snat`` makes the engine's own address the source towards the
    servers, ``snat_to`` one of these addresses of its IP version, by the client's address and port. For
    "least_connections" the slots are those of servers with equally many: the driver weighs them anew each second.
    ``branches`` are tried in order, the first that matches has the connection; ``policy`` is asked before all else.
    ``reserve``: further slots, each used when the servers before are all down. ``routed``: no server is chosen, the
    connection goes where the client sent it. ``close_when_down``: without servers it does not listen. ``pools``: keys
    of those that the servers are from. ``idle``: by protocol, the seconds without packets after which a connection is
    forgotten; of a protocol that is not in it, when the kernel thinks right.
    ``inline``: connections that servers refuse or do not answer count against them.
    """

    id: int
    listeners: tuple[Listener, ...]
    picker: Picker
    slots: tuple[tuple[str, int], ...]
    keep_port: bool = False
    snat: bool = False
    leaving: tuple[Leaving, ...] = ()
    persistence: Persistence | None = None
    limits: Limits = Limits()
    server_limits: ServerLimits = NO_SERVER_LIMITS
    branches: tuple[Branch, ...] = ()
    policy: tuple[SecurityRule, ...] = ()
    ftp: Ftp | None = None
    snat_to: tuple[str, ...] = ()
    reserve: tuple[tuple[tuple[str, int], ...], ...] = ()
    routed: bool = False
    close_when_down: bool = False
    pools: tuple[str, ...] = ()
    idle: tuple[tuple[Protocol, int], ...] = ()
    inline: bool = True

    @property
    def counters(self) -> set[str]:
        """The names of its counters."""
        limits = self.limits
        over = {"client_rate": limits.client_rate, "rate": limits.rate, "connections": limits.connections}
        over |= {f"rule_{rule.index}": rule.action == "limit" for rule in self.policy}
        names = {security_counter(self.id, rule.index) for rule in self.policy}
        return {
            service_counter(self.id),
            *names,
            *(over_counter(self.id, name) for name, there in over.items() if there),
        }

    @property
    def choices(self) -> tuple[Service | Branch, ...]:
        """Where servers are chosen: the service itself, then its branches."""
        return (self, *self.branches)

    @property
    def open_listeners(self) -> tuple[Listener, ...]:
        """Where connections are taken, or refused by us; none while it is down, if it is to close its ports then."""
        down = not (self.slots or self.routed or any(branch.slots for branch in self.branches))
        return () if down and self.close_when_down else self.listeners


@dataclass(frozen=True, slots=True)
class NatRule:
    """Source translation for routed flows that no service took.

    Rules are tried in ``order`` (policy first, then index), the first match wins; all matches given must hold.
    ``pool`` holds single addresses or ranges "a-b"; the choice among them is stable per source address.
    A rule that is not ``enabled`` is not tried, but keeps its counters.
    """

    id: int
    order: tuple[str, int]
    pool: tuple[str, ...]
    source: AddressMatch | None = None
    destination: AddressMatch | None = None
    source_port: PortMatch | None = None
    destination_port: PortMatch | None = None
    protocol: ProtocolMatch | None = None
    enabled: bool = True


@dataclass(frozen=True)
class SeState:
    """Everything one engine's namespace holds for us.

    ``addresses`` by ip, ``routes`` by prefix, ``services`` by id, ``nat`` by id,
    ``switches``: "routing" True forwards packets that belong to no service, "own_interface_only" True answers ARP for
    an address on its own interface only, "auto_gateway" True sends answers back to where the question came from,
    ``timeouts``: seconds without packets after which a flow that no service took is forgotten, by protocol and state
    ("tcp established", "udp replied", "icmp"; see ``ruleset_flows``), ``probes`` by key of the monitor, ``pools``:
    those whose health is watched, by key, ``pairs`` by number: addresses shared with another engine.
    """

    addresses: Mapping[str, Address] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    services: Mapping[int, Service] = field(default_factory=dict)
    nat: Mapping[int, NatRule] = field(default_factory=dict)
    switches: Mapping[str, bool] = field(default_factory=dict)
    timeouts: Mapping[str, int] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    pools: Mapping[str, Watch] = field(default_factory=dict)
    pairs: Mapping[int, Pair] = field(default_factory=dict)


TABLES = ("pairs", "addresses", "routes", "services", "nat", "switches", "timeouts", "probes", "pools")
"""The tables of an SeState, in the order in which entries are put in place; they are removed in reverse."""


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of the namespace as the kernel has it.

    ``addresses`` are "ip/len", ours (Address) included, IPv6 addresses of the link alone (fe80::) not.
    """

    name: str
    index: int
    mac: str
    mtu: int
    up: bool
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FlowMatch:
    """Which connections are asked for, as they were opened; what is left empty or 0 holds for all.

    ``src``, ``dst``: an address or prefix; ``sport``, ``dport``: first and last port; ``any_ip``, ``any_port``: at any
    of the ends, before or after translation; ``server``: address and port that answer (0: any port).
    """

    protocol: int = 0
    src: str = ""
    dst: str = ""
    sport: tuple[int, int] = (0, 65535)
    dport: tuple[int, int] = (0, 65535)
    any_ip: str = ""
    any_port: int = 0
    server: tuple[str, int] = ("", 0)


EVERY_FLOW = FlowMatch()
FLOW_KEYS = (
    "protocol", "src", "sport", "dst", "dport", "reply_src", "reply_sport", "reply_dst", "reply_dport", "status",
    "mark", "state", "timeout", "age", "last_used", "packets", "bytes", "reply_packets", "reply_bytes",
)  # fmt: skip
"""The keys of a connection, in the order in which its values travel."""

Row = dict[str, Any]
"""A runtime record; the drivers document the keys."""

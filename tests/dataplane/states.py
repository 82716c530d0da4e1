"""States for tests: hand-written ones with every construct, and a Hypothesis strategy."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

from dataplane.model import (
    Address,
    AddressMatch,
    Branch,
    Ftp,
    Leaving,
    Limits,
    Listener,
    Match,
    NatRule,
    Persistence,
    PortMatch,
    ProtocolMatch,
    Rate,
    Route,
    SecurityRule,
    ServerLimits,
    Service,
    SeState,
)

ADDRESS_MATCHES = [
    None,
    AddressMatch(("1.2.3.4",)),
    AddressMatch(("10.0.0.0/24", "10.0.1.0/24", "9.9.9.9-9.9.9.12")),
    AddressMatch(("10.0.0.5-10.0.0.9",), negate=True),
    AddressMatch(("1.1.1.1", "10.0.0.0/8"), negate=True),
    AddressMatch(("1.1.1.1",), negate=True),
    AddressMatch(()),
    AddressMatch((), negate=True),
    AddressMatch(("0.0.0.0/0",)),
    AddressMatch(("0.0.0.0/0",), negate=True),
    AddressMatch(("255.255.255.255", "0.0.0.0/1", "224.0.0.0-239.1.1.1")),
    AddressMatch(("0.0.0.0",)),
    AddressMatch(("128.0.0.0/1",)),
    AddressMatch(("10.0.0.1-255.255.255.255", "1.1.1.1")),
]
PORT_MATCHES = [
    None,
    PortMatch((20,)),
    PortMatch((21, 20, 22)),
    PortMatch((20,), negate=True),
    PortMatch((22, 20), negate=True),
    PortMatch(()),
    PortMatch((), negate=True),
    PortMatch((0, 65535)),
]
PROTOCOL_MATCHES = [
    None,
    *(ProtocolMatch(name, negate) for name in ("tcp", "udp", "icmp", "sctp") for negate in (False, True)),
]
POOLS = [
    ("10.9.0.1",),
    ("10.9.0.1-10.9.0.7",),
    ("10.9.0.0-10.9.0.255",),
    ("10.9.0.1", "10.9.0.4-10.9.0.6", "10.9.0.8"),
    ("10.9.0.1-10.9.0.1",),
    (),
]
SERVERS = (("10.1.0.1", 21), ("10.1.0.2", 2121))
SERVICES = [
    Service(
        1,
        (
            Listener("10.0.0.50", "tcp", 21, 21),
            Listener("10.0.0.50", "udp", 53, 53),
            Listener("10.0.0.50", "tcp", 8000, 8007),
        ),
        "round_robin",
        SERVERS,
    ),
    Service(
        2,
        (
            Listener("10.0.0.51", "tcp", 0, 65535),
            Listener("10.0.0.52", "udp", 8192, 16383),
            Listener("10.0.0.52", "tcp", 1, 3),
        ),
        "source_hash",
        (("10.1.0.1", 0),) * 5,
        keep_port=True,
        snat=True,
    ),
    Service(3, (Listener("10.0.0.53", "tcp", 80, 80),), "round_robin", ()),
    Service(
        4,
        (Listener("10.0.0.54", "tcp", 65535, 65535), Listener("10.0.0.54", "tcp", 0, 0)),
        "source_hash",
        (("10.1.0.9", 80),),
        snat=True,
    ),
    Service(
        5,
        (
            Listener("fd00::54", "tcp", 80, 80),
            Listener("fd00::54", "udp", 1, 1000),
            Listener("fd01::/64", "tcp", 0, 65535),
            Listener("10.128.0.0/9", "tcp", 0, 65535),
            Listener("10.0.0.56", "tcp", 80, 80),
        ),
        "source_port_hash",
        (("fd02::1", 80), ("10.1.0.9", 80), ("fd02::2", 81)),
        snat=True,
        leaving=(Leaving("fd02::3", 80, 60), Leaving("10.1.0.10", 80, -1), Leaving("10.1.0.11", 80, 0, returning=True)),
        persistence=Persistence(24, 300),
        limits=Limits(Rate(100, "minute", 50, reset=True), Rate(10), connections=5),
        server_limits=ServerLimits(3, Rate(7, "hour", 9)),
        snat_to=("10.0.0.99", "fd00::98", "fd00::99"),
        ftp=Ftp((21, 2121), active=False),
        idle=(("tcp", 300), ("udp", 30)),
    ),
    Service(
        6,
        (Listener("fd00::55", "tcp", 80, 80), Listener("10.0.0.57", "tcp", 80, 80)),
        "random",
        (("fd02::1", 80), ("10.1.0.9", 80)),
        keep_port=True,
        leaving=(Leaving("fd02::3", 80, 60), Leaving("10.1.0.10", 80, 60)),
        persistence=Persistence(0, 3600, "abort"),
        limits=Limits(Rate(100, "second", 5)),
        server_limits=ServerLimits(4),
        branches=(
            Branch(
                Match(AddressMatch(("10.0.0.0/8",)), None, PortMatch((), ranges=((1, 90),))),
                "random",
                (("10.1.0.30", 80), ("fd02::30", 80)),
            ),
            Branch(
                Match(AddressMatch(()), protocol=ProtocolMatch("udp")),
                "source_hash",
                (("10.1.0.31", 80),),
                keep_port=True,
            ),
            Branch(
                Match(protocol=ProtocolMatch("tcp", negate=True)), "source_port_hash", (), server_limits=ServerLimits(9)
            ),
        ),
        policy=(
            SecurityRule(1, Match(AddressMatch(("9.9.9.0/24", "fd09::/64")), PortMatch((5, 6))), "deny"),
            SecurityRule(7, Match(), "limit", Rate(3, "day", 4)),
            SecurityRule(9, Match(AddressMatch(("fd09::1",), negate=True)), "allow"),
        ),
        idle=(("udp", 2),),
    ),
    Service(
        7,
        (Listener("fd00::57", "tcp", 80, 80), Listener("10.0.0.58", "tcp", 80, 80)),
        "least_connections",
        (),
        leaving=(Leaving("10.1.0.10", 80, 60, returning=True),),
        persistence=Persistence(128, 60),
        limits=Limits(Rate(1, "hour")),
    ),
    Service(8, (Listener("10.0.0.59", "tcp", 80, 80),), "round_robin", (), routed=True, snat=True, ftp=Ftp((80,))),
    Service(2**31 - 1, (Listener("10.0.0.55", "tcp", 80, 80),), "source_hash", (("10.1.0.9", 80),) * 300),
]


TIMES = {
    "tcp established": 300, "tcp last_ack": 30, "tcp syn_sent": 10, "tcp close": 1, "udp replied": 10, "udp unreplied": 180,
    "icmp": 60,
}  # fmt: skip


def every_rule() -> dict[int, NatRule]:
    """NAT rules with every combination that could meet in the rule text."""
    rules: list[NatRule] = []
    for source, destination in product(ADDRESS_MATCHES, repeat=2):
        number = len(rules) + 1
        rules.append(NatRule(number, ("a", number), POOLS[number % 6], source=source, destination=destination))
    for source, destination, protocol in product(PORT_MATCHES, PORT_MATCHES, PROTOCOL_MATCHES):
        number = len(rules) + 1
        rules.append(
            NatRule(
                number,
                ("b", -number),
                POOLS[number % 6],
                source=ADDRESS_MATCHES[number % 4],
                source_port=source,
                destination_port=destination,
                protocol=protocol,
                enabled=number % 7 != 0,
            )
        )
    return {rule.id: rule for rule in rules}


def every_construct() -> SeState:
    """A state with every construct that is rendered to nftables."""
    return SeState(
        services={service.id: service for service in SERVICES},
        nat=every_rule(),
        switches={"routing": True},
        timeouts=TIMES,
    )


_ips = st.integers(1, 250).map(lambda n: f"10.0.0.{n}")
_servers = st.one_of(_ips, st.integers(1, 9).map(lambda n: f"fd00::{n}"))
_ports = st.integers(0, 65535)


@st.composite
def _service(draw, number):
    """Each service has an address of its own, so that two never want the same listener."""
    ports = sorted(draw(st.sets(_ports, max_size=4)))
    listeners = [Listener(f"10.5.{number}.1", draw(st.sampled_from(["tcp", "udp"])), port, port) for port in ports]
    if draw(st.booleans()):
        listeners.append(Listener(f"10.5.{number}.2", "tcp", *sorted(draw(st.tuples(_ports, _ports)))))
    if draw(st.booleans()):
        listeners.append(Listener(f"fd05::{number}", "tcp", *sorted(draw(st.tuples(_ports, _ports)))))
    slots = draw(st.lists(st.tuples(_servers, _ports), max_size=4))
    return Service(
        number,
        tuple(listeners),
        draw(st.sampled_from(["round_robin", "source_hash", "random", "source_port_hash", "least_connections"])),
        tuple(slots),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([(), (Leaving("10.0.0.251", 80, 60), Leaving("fd00::251", 80, -1))])),
        draw(st.sampled_from([None, Persistence(24, 300), Persistence(32, 60)])),
        draw(st.sampled_from([Limits(), Limits(Rate(3, reset=True)), Limits(connections=7)])),
        idle=draw(st.sampled_from([(), (("tcp", 300),), (("tcp", 5), ("udp", 10))])),
    )


@st.composite
def _rule(draw, number):
    return NatRule(
        number,
        (draw(st.sampled_from(["p", "q"])), draw(st.integers(0, 9))),
        draw(st.sampled_from(POOLS)),
        draw(st.sampled_from(ADDRESS_MATCHES)),
        draw(st.sampled_from(ADDRESS_MATCHES)),
        draw(st.sampled_from(PORT_MATCHES)),
        draw(st.sampled_from(PORT_MATCHES)),
        draw(st.sampled_from(PROTOCOL_MATCHES)),
        draw(st.booleans()),
    )


@st.composite
def states(draw):
    """Any state that nftables takes; addresses and routes are not those of a particular engine."""
    ips = draw(st.sets(_ips, max_size=3))
    prefixes = draw(st.sets(st.integers(0, 9).map(lambda n: f"10.9.{n}.0/24"), max_size=3))
    numbers = draw(st.sets(st.integers(1, 5), max_size=4))
    rules = draw(st.sets(st.integers(1, 5), max_size=4))
    return SeState(
        {ip: Address(ip, draw(st.sampled_from(["", "eth1"])), draw(st.sampled_from(["vip", "nat"]))) for ip in ips},
        {prefix: Route(prefix, draw(_ips)) for prefix in prefixes},
        {number: draw(_service(number)) for number in numbers},
        {number: draw(_rule(number)) for number in rules},
        draw(st.sampled_from([{}, {"routing": True}, {"routing": False}])),
        draw(st.sampled_from([{}, {"tcp established": 300}, {"tcp established": 301, "udp replied": 5}])),
    )

"""What happens to packets that are passed on, and how long the kernel remembers flows that no service took. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dataplane.model import Protocol, Service, SeState
from dataplane.nft import Chain
from dataplane.rulewords import Words

_STATES = {
    "tcp": ("syn_sent", "syn_recv", "established", "fin_wait", "close_wait", "last_ack", "time_wait", "close"),
    "udp": ("unreplied", "replied"),
}
_NUMBERS = {"tcp": 6, "udp": 17}
_UNLISTED = {"syn_sent": 120, "syn_recv": 60, "established": 432000, "fin_wait": 120, "close_wait": 60, "last_ack": 30,
             "time_wait": 120, "close": 10, "unreplied": 30, "replied": 180}  # fmt: skip
"""What nft takes for the usual and does not list."""
_IDLE_STATES = {"tcp": ("tcp established",), "udp": ("udp unreplied", "udp replied")}
"""Of a connection that no packet comes for."""
Idle = tuple[Protocol, int]


def forward_chain(*, routing: bool, timed: bool = False) -> Chain:
    """What is passed on: flows of services and, with ``routing``, all else too."""
    rest = (*(("ct state 0x8 jump flow_timeouts",) if timed else ()), "accept") if routing else ()
    rules = ("ct mark 0x00000001-0x7fffffff goto service_flows", *rest)
    return Chain(rules, "type filter hook forward priority 0; policy drop;")


def forward_of(state: SeState) -> Chain:
    """The forward chain of a state."""
    return forward_chain(routing=bool(state.switches.get("routing")), timed=bool(policies(state.timeouts)))


def policies(timeouts: Mapping[str, int]) -> dict[str, list[str]]:
    """By protocol, the states whose time is given and is not what nft takes for the usual: "established : 300"."""
    found = {
        protocol: [
            f"{state} : {seconds}"
            for state in states
            if (seconds := timeouts.get(f"{protocol} {state}")) and seconds != _UNLISTED[state]
        ]
        for protocol, states in _STATES.items()
    }
    return {protocol: parts for protocol, parts in found.items() if parts}


def timeout_chain(timeouts: Mapping[str, int]) -> Chain:
    """Gives a new flow its times."""
    return Chain(
        tuple(
            f'meta l4proto {_NUMBERS[name]} ct timeout set "{_name(name, parts)}"'
            for name, parts in policies(timeouts).items()
        )
    )


def idle_rules(service: Service) -> Iterator[str]:
    """Give a new connection of a service its time; an object of another protocol does nothing."""
    for idle in service.idle:
        for protocol, parts in _idle_policies(idle).items():
            yield f'ct timeout set "{_name(protocol, parts)}"'


def _idle_policies(idle: Idle) -> dict[str, list[str]]:
    protocol, seconds = idle
    return policies(dict.fromkeys(_IDLE_STATES[protocol], seconds))


def idles(services: Iterable[Service]) -> set[Idle]:
    """The times that services give their connections."""
    return {idle for one in {service.idle for service in services} for idle in one}


def objects(
    timeouts: Mapping[str, int], idle: Iterable[Idle], words: Words, *, ftp: bool
) -> dict[str, tuple[str, ...]]:
    """The connection tracking objects of a table, named by what is in them: another content is another object."""
    layer = f"l3proto {words.family}"
    times = {
        f"ct timeout {_name(protocol, parts)}": (f"protocol {protocol}", layer, f"policy = {{ {', '.join(parts)} }}")
        for group in (policies(timeouts), *map(_idle_policies, sorted(idle)))
        for protocol, parts in group.items()
    }
    return {**({"ct helper ftp": ('type "ftp" protocol tcp', layer)} if ftp else {}), **times}


def follows_ftp(state: SeState) -> bool:
    """Whether a service asks for it: only then must the kernel have the helper."""
    return any(service.ftp is not None for service in state.services.values())


def helper_chain(words: Words, *, ftp: bool) -> Chain:
    """Has the kernel follow control connections; before their destination is translated."""
    rules = (f'{words.destination} . tcp dport @ftp_ports ct helper set "ftp"',) if ftp else ()
    return Chain(rules, "type filter hook prerouting priority -150; policy accept;")


def _name(protocol: str, parts: list[str]) -> str:
    values = "_".join(part.replace(" : ", "") for part in parts)
    return f"idle_{protocol}_{values}"

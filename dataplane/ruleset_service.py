"""The chains and elements of load-balanced services. Pure.

A connection to a service passes the service's own chain: limits, the mark of the connection, persistence, the choice
of a slot; then a chain that many services share, which translates. What of it depends on a number (the length of a
prefix, a timeout, a limit) is in a chain named by that number, so that the big maps are used in few chains: nftables
walks through a map once for every chain that it is used in.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from dataplane.model import Limits, Persistence, Service, service_counter, version
from dataplane.nft import Chain, ElementSet
from dataplane.rulewords import SEED, Words, counted, mark

SERVICE_CHAIN = "service_"
Server = tuple[str, int]
_PERSISTED_SIZE = "262144"
_CLIENTS_SIZE = "65536"
_CLIENT_SECONDS = 60
_REFUSE = ("reject with tcp reset", "reject")


def sets(words: Words) -> dict[str, ElementSet]:
    """The sets and maps that services share, empty."""
    ip = words.address
    listener = f"{ip} . inet_proto . inet_service : verdict"
    member = f"mark . {ip} . inet_service"
    timed = "timeout"
    return {
        "services": ElementSet("map", listener),
        "service_ranges": ElementSet("map", listener, "interval"),
        "service_networks": ElementSet("map", listener, "interval"),
        "slots": ElementSet("map", f"mark . mark : {ip} . inet_service"),
        "slots_keep_port": ElementSet("map", f"mark . mark : {ip}"),
        "numbers": ElementSet("map", "mark . mark : mark"),
        "servers": ElementSet("map", f"mark . mark : {ip} . inet_service"),
        "servers_keep_port": ElementSet("map", f"mark . mark : {ip}"),
        "members": ElementSet("set", member),
        "members_keep_port": ElementSet("set", f"mark . {ip}"),
        "leaving": ElementSet("set", member, timed),
        "leaving_keep_port": ElementSet("set", f"mark . {ip}", timed),
        "persisted": ElementSet("map", f"mark . {ip} : mark", "dynamic,timeout", size=_PERSISTED_SIZE),
        "persistent": ElementSet("map", "mark : verdict"),
        "limited": ElementSet("map", "mark : verdict"),
        "clients": ElementSet("set", f"mark . {ip}", "dynamic,timeout", size=_CLIENTS_SIZE),
        "server_connections": ElementSet("set", member, "dynamic", size=_CLIENTS_SIZE),
        "snat_services": ElementSet("set", "mark"),
    }


def fixed_chains(words: Words) -> dict[str, Chain]:
    """The chains that are the same whatever the services are."""
    lookup = f"{words.destination} . meta l4proto . th dport vmap"
    forwards, replies = f"{words.destination} . th dport", f"{words.source} . th sport"
    return {
        "refuse": Chain(_REFUSE),
        "balance": Chain(_translations(words, "slots")),
        "prerouting": Chain(
            (f"{lookup} @services", f"{lookup} @service_ranges", f"{lookup} @service_networks"),
            "type nat hook prerouting priority -100; policy accept;",
        ),
        "service_flows": Chain(
            (
                "ct direction 0 ct mark vmap @persistent",
                "ct state 0x8 ct mark vmap @limited",
                f"ct direction 0 ct mark . {forwards} @members accept",
                f"ct direction 1 ct mark . {replies} @members accept",
                f"ct direction 0 ct mark . {words.destination} @members_keep_port accept",
                f"ct direction 1 ct mark . {words.source} @members_keep_port accept",
                f"ct direction 0 ct mark . {forwards} @leaving accept",
                f"ct direction 1 ct mark . {replies} @leaving accept",
                f"ct direction 0 ct mark . {words.destination} @leaving_keep_port accept",
                f"ct direction 1 ct mark . {words.source} @leaving_keep_port accept",
                "ct status 0x1 accept",
                f"meta l4proto {words.icmp} accept",
                "goto refuse",
            )
        ),
    }


def _translations(words: Words, table: str) -> tuple[str, ...]:
    """By service and packet mark, to a server with its port or with the client's."""
    ports = "meta l4proto { 6, 17 } dnat"
    return (
        f"{ports} {words.family} to ct mark . meta mark map @{table}",
        f"{ports} to ct mark . meta mark map @{table}_keep_port",
    )


def appears(service: Service, words: Words) -> bool:
    """Whether the table of an IP version knows the service: where it listens; without any listener in that of IPv4."""
    listens = any(listener.version == words.version for listener in service.listeners)
    return listens or (words.version == 4 and not service.listeners)


def shared_chains(every: Iterable[Service], words: Words) -> dict[str, Chain]:
    """The chains that the services need because of the numbers in them."""
    chains: dict[str, Chain] = {}
    services = [
        one for one in every if (one.persistence is not None or one.limits.server_connections) and appears(one, words)
    ]
    found = {service.persistence for service in services if service.persistence is not None}
    for persistence in sorted(found, key=lambda one: (one.prefix, one.seconds)):
        chains |= _persistence_chains(persistence, words)
    for most in sorted({service.limits.server_connections for service in services} - {0}):
        rule = (
            f"add @server_connections {{ ct mark . {words.destination} . th dport ct count over {most} }} goto refuse"
        )
        chains[_limit_name(most)] = Chain((rule,))
    return chains


def _persistence_chains(persistence: Persistence, words: Words) -> dict[str, Chain]:
    """To find the server of a client; to bind a client to a server; to keep it bound while its packets come."""
    prefix, source = persistence.prefix, words.masked_source(persistence.prefix)
    name = _persistence_name(persistence)
    bound = f"update @persisted {{ ct mark . {source} timeout {persistence.seconds}s : meta mark }}"
    return {
        f"bound_{prefix}": Chain(
            (f"meta mark set ct mark . {source} map @persisted", *_translations(words, "servers"))
        ),
        f"bind_{name}": Chain(
            (
                "meta mark set ct mark . meta mark map @numbers",
                f"delete @persisted {{ ct mark . {source} : meta mark }}",
                bound,
                *_translations(words, "servers"),
            )
        ),
        f"keep_{name}": Chain((f"ct mark . {source} @persisted {bound}",)),
    }


def _persistence_name(persistence: Persistence) -> str:
    return f"{persistence.prefix}_{persistence.seconds}"


def _limit_name(most: int) -> str:
    return f"limit_{most}"


def servers_of(service: Service, words: Words) -> list[Server]:
    """The servers of one IP version, each once, those that leave last."""
    every = [*service.slots, *((one.ip, one.port) for one in service.leaving)]
    return [server for server in dict.fromkeys(every) if version(server[0]) == words.version]


def slots_of(service: Service, words: Words) -> list[Server]:
    """The slots of one IP version."""
    return [server for server in service.slots if version(server[0]) == words.version]


def service_chain(service: Service, words: Words) -> Chain:
    """Limits, mark, persistence and choice."""
    slots = slots_of(service, words)
    if not slots and not any(one.returning for one in service.leaving):
        return Chain(_REFUSE)
    rules = [*_limits(service.limits, words), counted(service_counter(service.id)), f"ct mark set {mark(service.id)}"]
    if service.persistence is not None:
        rules.append(f"jump bound_{service.persistence.prefix}")
    if not slots:
        return Chain((*rules, *_REFUSE))
    rules.append(f"meta mark set {_choice(service, len(slots), words)}")
    then = "balance" if service.persistence is None else f"bind_{_persistence_name(service.persistence)}"
    return Chain((*rules, f"goto {then}"))


def _choice(service: Service, count: int, words: Words) -> str:
    match service.picker:
        case "source_hash":
            return f"jhash {words.source} mod {count} {SEED}"
        case "source_port_hash":
            return f"jhash {words.source} . th sport mod {count} {SEED}"
        case "random":
            return f"numgen random mod {count}"
        case _:
            return f"numgen inc mod {count}"


def _limits(limits: Limits, words: Words) -> list[str]:
    """Cheap ones first. A limit on a rate is spent by the connections that reach it only."""
    beyond = "goto refuse" if limits.reset else "drop"
    rules = []
    if limits.client_rate:
        per_client = f"ct mark . {words.source} timeout {_CLIENT_SECONDS}s limit rate over {limits.client_rate}/second"
        rules.append(f"update @clients {{ {per_client} }} {beyond}")
    if limits.rate:
        burst = "" if limits.burst in (0, 5) else f" burst {limits.burst} packets"
        rules.append(f"limit rate over {limits.rate}/{limits.period}{burst} {beyond}")
    if limits.connections:
        rules.append(f"ct count over {limits.connections} {beyond}")
    return rules


def elements(service: Service, words: Words) -> dict[str, dict[str, str]]:
    """What a service puts into the shared sets and maps, its listeners excepted."""
    found: dict[str, dict[str, str]] = {"members": {}, "leaving": {}}
    own, kept = mark(service.id), "_keep_port" if service.keep_port else ""
    slots, numbers = slots_of(service, words), _numbers(servers_of(service, words))
    if service.persistence is None:
        found["slots"] = {f"{own} . {mark(place)}": _end(service, server) for place, server in enumerate(slots)}
    else:
        found["numbers"] = {f"{own} . {mark(place)}": mark(numbers[server]) for place, server in enumerate(slots)}
        returning = [(one.ip, one.port) for one in service.leaving if one.returning]
        reachable = [server for server in numbers if server in slots or server in returning]
        found["servers"] = {f"{own} . {mark(numbers[server])}": _end(service, server) for server in reachable}
        found["persistent"] = {own: f"jump keep_{_persistence_name(service.persistence)}"}
    staying = [*slots, *((one.ip, one.port) for one in service.leaving if one.seconds < 0 or one.returning)]
    for server in staying:
        if version(server[0]) == words.version:
            found["members"][f"{own} . {_end(service, server)}"] = ""
    for one in service.leaving:
        if version(one.ip) == words.version and one.seconds > 0 and (one.ip, one.port) not in staying:
            found["leaving"][f"{own} . {_end(service, (one.ip, one.port))} timeout {one.seconds}s"] = ""
    named = {
        f"{name}{kept if name in ('slots', 'servers', 'members', 'leaving') else ''}": part
        for name, part in found.items()
    }
    if service.snat:
        named["snat_services"] = {own: ""}
    if service.limits.server_connections:
        named["limited"] = {own: f"jump {_limit_name(service.limits.server_connections)}"}
    return named


def _end(service: Service, server: Server) -> str:
    ip, port = server
    return ip if service.keep_port else f"{ip} . {port}"


def _numbers(servers: list[Server]) -> dict[Server, int]:
    """A number above 0 for each server that, but for rare collisions, does not depend on the others."""
    taken: dict[int, Server] = {}
    for ip, port in sorted(servers):
        number = crc32(f"{ip} {port}".encode()) or 1
        while number in taken:
            number = number % 0xFFFFFFFF + 1
        taken[number] = (ip, port)
    return {server: number for number, server in taken.items()}

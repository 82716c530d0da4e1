"""The chains and elements of load-balanced services. Pure.

A connection to a service passes the service's own chains: security policy, limits, the mark of the connection,
branches, persistence, the choice of a slot; then a chain that many services share, which translates. What of it depends
on a number (the length of a prefix, a timeout, a limit) is in a chain named by that number, so that the big maps are
used in few chains: nftables walks through a map once for every chain that it is used in. The slots of the branches
follow those of the service itself in one numbering.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zlib import crc32

from dataplane.leastconn import is_alone
from dataplane.model import (
    Branch,
    Persistence,
    Picker,
    Rate,
    SecurityRule,
    Service,
    over_counter,
    security_counter,
    version,
)
from dataplane.model import service_counter as counter_of
from dataplane.nft import Chain, ElementSet
from dataplane.ruleset_flows import idle_rules
from dataplane.ruleset_match import Conditions, guards
from dataplane.rulewords import SEED, Words, counted, mark

SERVICE_CHAIN = "service_"
Server = tuple[str, int]
Choice = Service | Branch
"""What has slots."""
_PERSISTED_SIZE = "262144"
_CLIENTS_SIZE = "65536"
_CLIENT_SECONDS = 60
_KERNEL_BURST = 5
_REFUSE = ("reject with tcp reset", "reject")


def sets(words: Words) -> dict[str, ElementSet]:
    """The sets and maps that services share, empty."""
    ip = words.address
    listener = f"{ip} . inet_proto . inet_service : verdict"
    member, timed = f"mark . {ip} . inet_service", "timeout"
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
        "limited": ElementSet("map", f"{member} : verdict"),
        "limited_keep_port": ElementSet("map", f"mark . {ip} : verdict"),
        "clients": ElementSet("set", f"mark . {ip}", "dynamic,timeout", size=_CLIENTS_SIZE),
        "server_connections": ElementSet("set", member, "dynamic", size=_CLIENTS_SIZE),
        "server_rates": ElementSet("set", member, "dynamic,timeout", size=_CLIENTS_SIZE),
        "snat_services": ElementSet("set", "mark"),
        "snat_addresses": ElementSet("map", f"mark : {ip}"),
        "snat_choices": ElementSet("map", "mark : verdict"),
        "snat_pools": ElementSet("map", f"mark . mark : {ip}"),
        "routed_services": ElementSet("set", "mark"),
        "ftp_ports": ElementSet("set", f"{ip} . inet_service"),
        "ftp_modes": ElementSet("map", "mark : verdict"),
        "ftp_servers": ElementSet("set", f"mark . {ip}"),
    }


def fixed_chains(words: Words) -> dict[str, Chain]:
    """The chains that are the same whatever the services are."""
    lookup = f"{words.destination} . meta l4proto . th dport vmap"
    return {
        "refuse": Chain(_REFUSE),
        "balance": Chain(_translations(words, "slots")),
        "prerouting": Chain(
            (f"{lookup} @services", f"{lookup} @service_ranges", f"{lookup} @service_networks"),
            "type nat hook prerouting priority -100; policy accept;",
        ),
        "service_flows": Chain(tuple(_service_flows(words))),
        **_ftp_chains(words),
    }


def _service_flows(words: Words) -> Iterator[str]:
    """What passes of the packets of services: of connections to servers that belong to them."""
    forwards, replies = f"{words.destination} . th dport", f"{words.source} . th sport"
    yield "ct direction 0 ct mark vmap @persistent"
    yield "ct mark @routed_services accept"
    yield "ct status 0x1 ct mark vmap @ftp_modes"
    yield f"ct state 0x8 ct mark . {forwards} vmap @limited"
    yield f"ct state 0x8 ct mark . {words.destination} vmap @limited_keep_port"
    for name in ("members", "leaving"):
        yield f"ct direction 0 ct mark . {forwards} @{name} accept"
        yield f"ct direction 1 ct mark . {replies} @{name} accept"
        yield f"ct direction 0 ct mark . {words.destination} @{name}_keep_port accept"
        yield f"ct direction 1 ct mark . {words.source} @{name}_keep_port accept"
    yield f"meta l4proto {words.icmp} accept"
    yield "goto refuse"


def _ftp_chains(words: Words) -> dict[str, Chain]:
    """Data connections: in passive mode the client opens them, in active mode the server."""
    to_server, from_server = f"{words.destination} @ftp_servers", f"{words.source} @ftp_servers"
    return {
        "ftp_both": Chain(("accept",)),
        "ftp_passive": Chain(
            (
                f"ct direction 0 ct mark . {to_server} accept",
                f"ct direction 1 ct mark . {from_server} accept",
                "goto refuse",
            )
        ),
        "ftp_active": Chain(
            (
                f"ct direction 0 ct mark . {from_server} accept",
                f"ct direction 1 ct mark . {to_server} accept",
                "goto refuse",
            )
        ),
        "ftp_none": Chain(("goto refuse",)),
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


def shares(service: Service) -> bool:
    """Whether it uses a chain that ``shared_chains`` makes."""
    return (
        service.persistence is not None or len(service.snat_to) > 1 or any(_limit_name(one) for one in service.choices)
    )


def shared_chains(every: Iterable[Service], words: Words) -> dict[str, Chain]:
    """The chains that the services need because of the numbers in them."""
    chains: dict[str, Chain] = {}
    services = [one for one in every if shares(one) and appears(one, words)]
    found = {service.persistence for service in services if service.persistence is not None}
    for persistence in sorted(found, key=lambda one: (one.prefix, one.seconds, one.recovery)):
        chains |= _persistence_chains(persistence, words)
    for count in sorted({len(callers(service, words)) for service in services} - {0, 1}):
        chains[f"snat_of_{count}"] = Chain(tuple(_caller_rules(count, words)))
    limited = {_limit_name(one): one for service in services for one in service.choices}
    for name in sorted(limited.keys() - {""}):
        limits, alone = limited[name].server_limits, is_alone(limited[name])
        chains[name] = Chain(tuple(_server_limit_rules(limits.connections, limits.rate, words, alone=alone)))
    return chains


def callers(service: Service, words: Words) -> list[str]:
    """The addresses of one IP version that the service calls its servers from."""
    return [address for address in service.snat_to if version(address) == words.version]


def _caller_rules(count: int, words: Words) -> Iterator[str]:
    """A connection keeps its address: client and port decide."""
    yield f"meta mark set jhash {words.source} . th sport mod {count} {SEED}"
    yield "snat to ct mark . meta mark map @snat_pools"


def _server_limit_rules(connections: int, rate: Rate | None, words: Words, *, alone: bool) -> Iterator[str]:
    """A client whose call is dropped calls again, and meets another server."""
    server = f"ct mark . {words.destination} . th dport"
    if connections:
        yield f"add @server_connections {{ {server} ct count over {connections} }} {'goto refuse' if alone else 'drop'}"
    if rate is not None:
        yield f"update @server_rates {{ {server} timeout {_CLIENT_SECONDS}s {_over(rate)} }} {_beyond(rate)}"


def _persistence_chains(persistence: Persistence, words: Words) -> dict[str, Chain]:
    """To find the server of a client; to bind a client to a server; to keep it bound while its packets come."""
    prefix, source = persistence.prefix, words.masked_source(persistence.prefix)
    bound = f"update @persisted {{ ct mark . {source} timeout {persistence.seconds}s : meta mark }}"
    find = (f"meta mark set ct mark . {source} map @persisted", *_translations(words, "servers"))
    abort = (f"ct mark . {source} @persisted goto refuse",) if persistence.recovery == "abort" else ()
    name = _persistence_name(persistence)
    return {
        _bound_name(persistence): Chain((*find, *abort)),
        f"bind_{prefix}_{persistence.seconds}": Chain(
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


def _bound_name(persistence: Persistence) -> str:
    return f"bound_{persistence.prefix}{'_abort' if persistence.recovery == 'abort' else ''}"


def _limit_name(choice: Choice) -> str:
    limits = choice.server_limits
    connections = f"{limits.connections}{'_alone' if limits.connections and is_alone(choice) else ''}"
    if limits.rate is None:
        return f"limit_{connections}" if limits.connections else ""
    rate = limits.rate
    return f"limit_{connections}_{rate.count}_{rate.period}_{rate.burst}_{'reset' if rate.reset else 'drop'}"


def servers_of(choice: Choice, words: Words) -> list[Server]:
    """The servers of one IP version, each once, those that leave last."""
    every = [*choice.slots, *((one.ip, one.port) for one in choice.leaving)]
    return [server for server in dict.fromkeys(every) if version(server[0]) == words.version]


def slots_of(choice: Choice, words: Words) -> list[Server]:
    """The slots of one IP version."""
    return [server for server in choice.slots if version(server[0]) == words.version]


def service_chains(service: Service, words: Words) -> dict[str, Chain]:
    """Of one service: its policy, then what it does with a connection, each branch in a chain of its own."""
    name = f"{SERVICE_CHAIN}{service.id}"
    chains = dict(_policy_chains(service, f"{name}_taken", words))
    taken = f"{name}_taken" if service.policy else name
    if service.policy:
        jumps = [f"jump {name}_rule_{rule.index}" for rule in service.policy if f"{name}_rule_{rule.index}" in chains]
        chains[name] = Chain((*jumps, f"goto {taken}"))
    rules = [*_limits(service, words), counted(counter_of(service.id)), f"ct mark set {mark(service.id)}"]
    rules += idle_rules(service)
    offset = len(slots_of(service, words))
    for number, branch in enumerate(service.branches, 1):
        lines = guards(_conditions(branch), words)
        if lines is not None:
            chains[f"{name}_branch_{number}"] = Chain((*lines, *_last_rules(branch, offset, words)))
            rules.append(f"jump {name}_branch_{number}")
        offset += len(slots_of(branch, words))
    end = _last_rules(service, 0, words)
    chains[taken] = Chain(_REFUSE) if end == _REFUSE and not service.branches else Chain((*rules, *end))
    return chains


def _conditions(part: Branch | SecurityRule) -> Conditions:
    match = part.match
    return Conditions(match.source, None, match.source_port, match.port, match.protocol)


def _policy_chains(service: Service, taken: str, words: Words) -> Iterator[tuple[str, Chain]]:
    """A chain for each rule that can match; its end is a verdict."""
    for rule in service.policy:
        lines = guards(_conditions(rule), words)
        if lines is None:
            continue
        over: tuple[str, ...] = ()
        if rule.action == "limit" and rule.rate:
            over = (
                f"{_over(rule.rate)} {counted(over_counter(service.id, f'rule_{rule.index}'))} {_beyond(rule.rate)}",
            )
        end = "drop" if rule.action == "deny" else f"goto {taken}"
        name = f"{SERVICE_CHAIN}{service.id}_rule_{rule.index}"
        yield name, Chain((*lines, counted(security_counter(service.id, rule.index)), *over, end))


def _last_rules(choice: Choice, offset: int, words: Words) -> tuple[str, ...]:
    """Persistence and choice; the end of a chain."""
    if isinstance(choice, Service) and choice.routed:
        return ("accept",)
    slots = slots_of(choice, words)
    persistence = choice.persistence if isinstance(choice, Service) else None
    rules = [] if persistence is None else [f"jump {_bound_name(persistence)}"]
    if not slots:
        returning = persistence is not None and any(one.returning for one in choice.leaving)
        return (*rules, *_REFUSE) if returning else _REFUSE
    rules.append(f"meta mark set {_pick(choice.picker, len(slots), offset, words)}")
    then = "balance" if persistence is None else f"bind_{_persistence_name(persistence)}"
    return (*rules, f"goto {then}")


def _pick(picker: Picker, count: int, offset: int, words: Words) -> str:
    behind = f" offset {offset}" if offset else ""
    match picker:
        case "source_hash":
            return f"jhash {words.source} mod {count} {SEED}{behind}"
        case "source_port_hash":
            return f"jhash {words.source} . th sport mod {count} {SEED}{behind}"
        case "random":
            return f"numgen random mod {count}{behind}"
        case _:
            return f"numgen inc mod {count}{behind}"


def _over(rate: Rate) -> str:
    burst = "" if rate.burst in (0, _KERNEL_BURST) else f" burst {rate.burst} packets"
    return f"limit rate over {rate.count}/{rate.period}{burst}"


def _beyond(rate: Rate) -> str:
    return "goto refuse" if rate.reset else "drop"


def _limits(service: Service, words: Words) -> Iterator[str]:
    """Cheap ones first. A limit on a rate is spent by the connections that reach it only."""
    limits = service.limits
    over = {name: counted(over_counter(service.id, name)) for name in ("client_rate", "rate", "connections")}
    if limits.client_rate is not None:
        per_client = f"ct mark . {words.source} timeout {_CLIENT_SECONDS}s {_over(limits.client_rate)}"
        yield f"update @clients {{ {per_client} }} {over['client_rate']} {_beyond(limits.client_rate)}"
    if limits.rate is not None:
        yield f"{_over(limits.rate)} {over['rate']} {_beyond(limits.rate)}"
    if limits.connections:
        yield f"ct count over {limits.connections} {over['connections']} goto refuse"


def elements(service: Service, words: Words) -> dict[str, dict[str, str]]:
    """What a service puts into the shared sets and maps, its listeners excepted."""
    found: dict[str, dict[str, str]] = {}
    own, offset = mark(service.id), 0
    for choice in service.choices:
        persistence = choice.persistence if isinstance(choice, Service) else None
        for name, part in _choice_elements(own, offset, choice, persistence, words).items():
            found.setdefault(name, {}).update(part)
        offset += len(slots_of(choice, words))
    for name, part in _flag_elements(own, service, words):
        found.setdefault(name, {}).update(part)
    return found


def _flag_elements(own: str, service: Service, words: Words) -> Iterator[tuple[str, dict[str, str]]]:
    to = callers(service, words)
    if len(to) > 1:
        yield "snat_choices", {own: f"goto snat_of_{len(to)}"}
        yield "snat_pools", {f"{own} . {mark(place)}": address for place, address in enumerate(to)}
    elif to:
        yield "snat_addresses", {own: to[0]}
    elif service.snat:
        yield "snat_services", {own: ""}
    if service.routed:
        yield "routed_services", {own: ""}
    if service.ftp is not None:
        mode = {(True, True): "both", (True, False): "active", (False, True): "passive"}
        verdict = f"jump ftp_{mode.get((service.ftp.active, service.ftp.passive), 'none')}"
        ends = [one.ip for one in service.listeners if one.version == words.version and "/" not in one.ip]
        yield "ftp_ports", {f"{ip} . {port}": "" for ip in ends for port in service.ftp.ports}
        yield "ftp_modes", {own: verdict}
        servers = [server for choice in service.choices for server in servers_of(choice, words)]
        yield "ftp_servers", {f"{own} . {ip}": "" for ip, _ in servers}


def _choice_elements(
    own: str, offset: int, choice: Choice, persistence: Persistence | None, words: Words
) -> dict[str, dict[str, str]]:
    kept = "_keep_port" if choice.keep_port else ""
    slots, numbers = slots_of(choice, words), _numbers(servers_of(choice, words))
    found: dict[str, dict[str, str]] = {}
    places = {f"{own} . {mark(offset + place)}": server for place, server in enumerate(slots)}
    insisted = {(one.ip, one.port) for one in choice.leaving if one.returning}
    if persistence is None:
        found[f"slots{kept}"] = {key: _end(choice, server) for key, server in places.items()}
    else:
        found["numbers"] = {key: mark(numbers[server]) for key, server in places.items()}
        reachable = [server for server in numbers if server in slots or server in insisted]
        found[f"servers{kept}"] = {f"{own} . {mark(numbers[server])}": _end(choice, server) for server in reachable}
        found["persistent"] = {own: f"jump keep_{_persistence_name(persistence)}"}
    found |= _member_elements(own, choice, slots, kept, words)
    name = _limit_name(choice)
    if name:
        found[f"limited{kept}"] = {f"{own} . {_end(choice, server)}": f"jump {name}" for server in dict.fromkeys(slots)}
    return found


def _member_elements(
    own: str, choice: Choice, slots: list[Server], kept: str, words: Words
) -> dict[str, dict[str, str]]:
    """Servers whose connections go on: for good, or for a while."""
    gone = [one for one in choice.leaving if version(one.ip) == words.version]
    staying = [*slots, *((one.ip, one.port) for one in gone if one.seconds < 0 or one.returning)]
    members = {f"{own} . {_end(choice, server)}": "" for server in staying}
    timed = {
        f"{own} . {_end(choice, (one.ip, one.port))} timeout {one.seconds}s": ""
        for one in gone
        if one.seconds > 0 and (one.ip, one.port) not in staying
    }
    return {f"members{kept}": members, f"leaving{kept}": timed}


def _end(choice: Choice, server: Server) -> str:
    ip, port = server
    return ip if choice.keep_port else f"{ip} . {port}"


def _numbers(servers: list[Server]) -> dict[Server, int]:
    """A number above 0 for each server that, but for rare collisions, does not depend on the others."""
    taken: dict[int, Server] = {}
    for ip, port in sorted(servers):
        number = crc32(f"{ip} {port}".encode()) or 1
        while number in taken:
            number = number % 0xFFFFFFFF + 1
        taken[number] = (ip, port)
    return {server: number for number, server in taken.items()}

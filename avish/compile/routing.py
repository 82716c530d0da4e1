"""Network services and static routes -> what an engine routes, and the addresses it answers for besides VIPs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from avish.compile.nat import compile_policy, nat_addresses
from avish.compile.pairs import pair_of
from avish.config.config import Body, Config, uuid_in
from avish.config.engines import Engine
from avish.config.ids import Ids
from avish.config.services import users_of, vip_addresses
from dataplane.failover_model import Pair
from dataplane.model import Address, AddressKind, NatRule, Route


@dataclass(frozen=True, slots=True)
class Routing:
    """What the network service of one engine group asks for.

    ``addresses``: floating and NAT addresses; ``second``: those of them that follow the second pair; ``everywhere``:
    each address is answered on every interface; ``back``: answers go to where the question came from.
    """

    enabled: bool = False
    addresses: Mapping[str, AddressKind] = field(default_factory=dict)
    nat: Mapping[int, NatRule] = field(default_factory=dict)
    timeouts: Mapping[str, int] = field(default_factory=dict)
    second: frozenset[str] = frozenset()
    everywhere: bool = True
    back: bool = False

    @property
    def switches(self) -> dict[str, bool]:
        """Switches of the engines besides that for routing."""
        given = {"own_interface_only": not self.everywhere, "auto_gateway": self.back}
        return {name: True for name, wanted in given.items() if wanted}


NO_ROUTING = Routing()
FLOW_STATES = {
    "tcp_idle_timeout": ("tcp established",),
    "tcp_connection_setup_timeout": ("tcp syn_sent", "tcp syn_recv"),
    "tcp_half_closed_timeout": ("tcp fin_wait", "tcp close_wait", "tcp last_ack"),
    "tcp_closed_timeout": ("tcp time_wait",),
    "tcp_reset_timeout": ("tcp close",),
    "udp_idle_timeout": ("udp unreplied", "udp replied"),
    "icmp_idle_timeout": ("icmp",),
}
"""Fields of a flowtable_profile: the states of a connection that they are for."""


def compile_routing(config: Config, ids: Ids) -> dict[tuple[str, str], Routing]:
    """By uuid of the engine group and of the VRF."""
    return {
        (uuid_in(body["se_group_ref"]), uuid_in(body["vrf_ref"])): _routing(
            config, body.get("routing_service", {}), ids
        )
        for body in config.all("networkservice")
    }


def _routing(config: Config, service: Body, ids: Ids) -> Routing:
    enabled = bool(service.get("enable_routing"))
    policy = (config.target(service.get("nat_policy_ref")) or {}) if enabled else {}
    kinds: dict[str, AddressKind] = dict.fromkeys(nat_addresses(policy), "nat")
    second = [item["addr"] for item in service.get("floating_intf_ip_se_2", [])]
    kinds.update(dict.fromkeys(second, "floating"))
    kinds.update(dict.fromkeys([item["addr"] for item in service.get("floating_intf_ip", [])], "floating"))
    times = _timeouts(service.get("flowtable_profile", {})) if enabled else {}
    everywhere = bool(service.get("enable_vip_on_all_interfaces", True))
    back = bool(service.get("enable_auto_gateway"))
    return Routing(enabled, kinds, compile_policy(config, policy, ids), times, frozenset(second), everywhere, back)


def _timeouts(profile: Body) -> dict[str, int]:
    """How long the kernel remembers a routed flow, by protocol and state."""
    return {state: profile[field] for field, states in FLOW_STATES.items() if field in profile for state in states}


def compile_address(
    config: Config, engine: Engine, ip: str, routing: Routing, pairs: Mapping[int, Pair]
) -> Address | None:
    """The address as an engine holds it that may answer for it; None when nothing asks for it."""
    services = list(_services_on(config, engine, ip))
    kind = "vip" if services else routing.addresses.get(ip) or _snat_kind(config, engine, ip)
    if kind is None or (ip in routing.second and not services and 2 not in pairs):
        return None
    return Address(ip, engine.interface_towards(ip), kind, _pair(pairs, services, second=ip in routing.second))


def _pair(pairs: Mapping[int, Pair], services: list[Body], *, second: bool) -> int:
    if services:
        return pair_of(pairs, services[0])
    return 2 if second and 2 in pairs else min(pairs, default=0)


def _services_on(config: Config, engine: Engine, ip: str) -> Iterator[Body]:
    """The virtual services of the engine's group that are switched on and listen there."""
    for body in users_of(config, ip):
        here = engine.carries(body)
        if here and body.get("enabled", True) and ip in vip_addresses(config.target(body["vsvip_ref"])):
            yield body


def _snat_kind(config: Config, engine: Engine, ip: str) -> AddressKind | None:
    """Whether a virtual service of the engine's group calls its servers from there."""
    bodies = (config.table("virtualservice")[uuid] for uuid in config.services_calling_from(ip))
    used = any(body.get("enabled", True) and engine.carries(body) for body in bodies)
    return "nat" if used else None


def compile_routes(config: Config, engine: Engine) -> dict[str, Route]:
    """The static routes whose next hop is in a network of the engine; of several ways to a prefix the first."""
    routes: dict[str, Route] = {}
    for item in (config.get("vrfcontext", engine.vrf_uuid) or {}).get("static_routes", []):
        hop, network = item["next_hop"], item["prefix"]["ip_addr"]
        if hop["type"] == network["type"] and engine.interface_towards(hop["addr"]):
            prefix = f"{network['addr']}/{item['prefix']['mask']}"
            routes.setdefault(prefix, Route(prefix, hop["addr"], item.get("if_name", "")))
    return routes

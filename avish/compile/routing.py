"""Network services and static routes -> what an engine routes, and the addresses it answers for besides VIPs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from avish.compile.nat import compile_policy, nat_addresses
from avish.compile.placement import MAIN_VRF, in_main_vrf
from avish.config.config import Body, Config, uuid_in
from avish.config.engines import Engine
from avish.config.ids import Ids
from avish.config.services import users_of, vip_addresses
from dataplane.model import Address, AddressKind, NatRule, Route


@dataclass(frozen=True, slots=True)
class Routing:
    """What the network service of one engine group asks for; ``addresses``: floating and NAT addresses."""

    enabled: bool = False
    addresses: Mapping[str, AddressKind] = field(default_factory=dict)
    nat: Mapping[int, NatRule] = field(default_factory=dict)


NO_ROUTING = Routing()


def compile_routing(config: Config, ids: Ids) -> dict[str, Routing]:
    """By uuid of the engine group."""
    return {
        uuid_in(body["se_group_ref"]): _routing(config, body.get("routing_service", {}), ids)
        for body in config.all("networkservice")
        if in_main_vrf(config, body["vrf_ref"])
    }


def _routing(config: Config, service: Body, ids: Ids) -> Routing:
    enabled = bool(service.get("enable_routing"))
    policy = (config.target(service.get("nat_policy_ref")) or {}) if enabled else {}
    floating = [item["addr"] for item in service.get("floating_intf_ip", []) if item["type"] == "V4"]
    kinds: dict[str, AddressKind] = dict.fromkeys(nat_addresses(policy), "nat")
    kinds.update(dict.fromkeys(floating, "floating"))
    return Routing(enabled, kinds, compile_policy(config, policy, ids))


def compile_address(config: Config, engine: Engine, ip: str, routing: Routing) -> Address | None:
    """The address as the active engine holds it; None when nothing asks for it."""
    kind = "vip" if _is_vip(config, engine, ip) else routing.addresses.get(ip)
    return Address(ip, engine.interface_towards(ip), kind) if kind else None


def _is_vip(config: Config, engine: Engine, ip: str) -> bool:
    """Whether a virtual service of the engine's group that is switched on listens there."""
    return any(
        body.get("enabled", True)
        and uuid_in(body.get("se_group_ref")) == engine.group
        and in_main_vrf(config, body.get("vrf_context_ref"))
        and ip in vip_addresses(config.target(body["vsvip_ref"]))
        for body in users_of(config, ip)
    )


def compile_routes(config: Config, engine: Engine) -> dict[str, Route]:
    """The static routes whose next hop is in a network of the engine; of several ways to a prefix the first."""
    routes: dict[str, Route] = {}
    for item in (config.named("vrfcontext", MAIN_VRF) or {}).get("static_routes", []):
        hop, network = item["next_hop"], item["prefix"]["ip_addr"]
        if hop["type"] == network["type"] == "V4" and engine.interface_towards(hop["addr"]):
            prefix = f"{network['addr']}/{item['prefix']['mask']}"
            routes.setdefault(prefix, Route(prefix, hop["addr"], item.get("if_name", "")))
    return routes

"""Legacy HA: an engine group with two engines -> the pairs in which they decide who answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from avish.config.config import Body, Config, uuid_in
from avish.config.engines import Engine
from avish.config.ids import Ids
from dataplane.failover_model import Gateway, Link, Pair

LEGACY = "HA_MODE_LEGACY_ACTIVE_STANDBY"
TAGS = {"ACTIVE_STANDBY_SE_1": 1, "ACTIVE_STANDBY_SE_2": 2}
"""A tag, and the number of the pair whose preferred engine carries it."""
_STORED_COUNT = 10
_HEARTBEAT = {False: 0.08, True: 0.03}
"""Seconds, where the group says nothing of its own: three of them are missed within 300 (or, aggressively, 100) ms."""
_SHORTEST, _LONGEST = 0.01, 40.0
HA_FIELDS = (
    "ha_mode", "distribute_load_active_standby", "auto_redistribute_active_standby_load",
    "aggressive_failure_detection", "dp_hb_frequency", "dp_hb_timeout_count",
    "dp_aggressive_hb_frequency", "dp_aggressive_hb_timeout_count",
)  # fmt: skip
"""What of an engine group the pairs are made of."""


def compile_pairs(config: Config, every: Iterable[Engine], ids: Ids) -> dict[str, dict[int, Pair]]:
    """The pairs of each engine, by its place; {} for an engine that waits for nobody."""
    groups: dict[tuple[str, str], list[Engine]] = {}
    for engine in sorted(every, key=lambda item: ids.numbers["engine"][item.uuid]):
        groups.setdefault(engine.segment, []).append(engine)
    pairs: dict[str, dict[int, Pair]] = {}
    vmacs = _vmacs(config, ids)
    for (uuid, vrf), members in groups.items():
        group = config.get("serviceenginegroup", uuid)
        for place, engine in enumerate(members):
            found = _pairs(config, group, members, place) if group else {}
            pairs[engine.place] = _with_vmacs(found, vmacs.get((uuid, vrf), 0))
    return pairs


def _vmacs(config: Config, ids: Ids) -> dict[tuple[str, str], int]:
    """By engine group and VRF, the number of the network service that asks for a virtual MAC."""
    return {
        (uuid_in(body["se_group_ref"]), uuid_in(body["vrf_ref"])): ids.get("vmac", body["uuid"]) or 0
        for body in config.all("networkservice")
        if body.get("routing_service", {}).get("enable_vmac")
    }


def _with_vmacs(pairs: dict[int, Pair], service: int) -> dict[int, Pair]:
    """Each pair with the MAC of a virtual router of its own; ``service`` 0: with none."""
    if not service:
        return pairs
    return {number: replace(pair, vmac=virtual_mac(2 * service + number - 2)) for number, pair in pairs.items()}


def virtual_mac(router: int) -> str:
    """That of the virtual router with a number from 1; after 255 they begin anew."""
    return f"00:00:5e:00:01:{(router - 1) % 255 + 1:02x}"


def _pairs(config: Config, group: Body, members: list[Engine], place: int) -> dict[int, Pair]:
    """Those of the first two engines of a group; any more are spare."""
    if group.get("ha_mode") != LEGACY or len(members) < 2 or place > 1:
        return {}
    engine, peer = members[place], members[1 - place]
    links = tuple(_links(engine, peer))
    if not links:
        return {}
    gateways = tuple(_gateways(config, engine, peer))
    mirror = _mirrored(config, engine)
    numbers = (1, 2) if group.get("distribute_load_active_standby") else (1,)
    return {
        number: Pair(
            links=links,
            preferred=place == number - 1,
            heartbeat=heartbeat(group),
            preempt=bool(group.get("auto_redistribute_active_standby_load")),
            mirror=mirror,
            gateways=gateways,
        )
        for number in numbers
    }


def _links(engine: Engine, peer: Engine) -> Iterator[Link]:
    """Where both have an address in one network: one for each interface, of IPv4 if it can be."""
    seen = set()
    for port in sorted(engine.ports, key=lambda one: one.network.version):
        other = next((one for one in peer.ports if one.network == port.network), None)
        if other is not None and port.interface not in seen:
            seen.add(port.interface)
            yield Link(port.interface, port.address, other.address)


def _gateways(config: Config, engine: Engine, peer: Engine) -> Iterator[Gateway]:
    """Those that the VRF names, and the next hops of its static routes; both engines have to be in their networks."""
    vrf = config.get("vrfcontext", engine.vrf_uuid) or {}
    found = {item["gateway_ip"]["addr"]: (item, "fail") for item in vrf.get("gateway_mon", [])}
    hops = vrf.get("internal_gateway_monitor", {})
    for route in vrf.get("static_routes", []) if not hops.get("disable_gateway_monitor") else ():
        if not route.get("disable_gateway_monitor"):
            found.setdefault(route["next_hop"]["addr"], (hops, "failure"))
    for ip, (item, word) in found.items():
        if engine.interface_towards(ip) and peer.interface_towards(ip):
            yield Gateway(
                ip,
                item.get("gateway_monitor_interval", 1000) / 1000,
                item.get(f"gateway_monitor_{word}_threshold", 10),
                item.get("gateway_monitor_success_threshold", 15),
            )


def _mirrored(config: Config, engine: Engine) -> bool:
    """Whether a virtual service that the engine carries asks for it by its network profile."""
    profiles = [body["uuid"] for body in config.all("networkprofile") if body.get("connection_mirror")]
    services = (
        config.get("virtualservice", uuid)
        for profile in profiles
        for uuid in config.referring(profile, "virtualservice")
    )
    return any(body is not None and engine.carries(body) for body in services)


def heartbeat(group: Body) -> float:
    """Seconds between two heartbeats: a third of the time in which the group wants the loss of an engine noticed.

    Fields at their defaults are taken for "as quick as is sound here", not for the second they stand for.
    """
    aggressive = bool(group.get("aggressive_failure_detection"))
    name = "dp_aggressive_hb" if aggressive else "dp_hb"
    frequency, count = group.get(f"{name}_frequency", 100), group.get(f"{name}_timeout_count", _STORED_COUNT)
    if (frequency, count) == (100, _STORED_COUNT):
        return _HEARTBEAT[aggressive]
    return float(min(max(round(frequency * count / 3000, 2), _SHORTEST), _LONGEST))


def pair_of(pairs: Mapping[int, Pair], service: Body) -> int:
    """The number of the pair that carries a virtual service; 0 when there is none."""
    wanted = TAGS.get(service.get("active_standby_se_tag", ""), 1)
    return wanted if wanted in pairs else min(pairs, default=0)


def stale(old: Config, new: Config, changed: Mapping[str, list[str]]) -> bool:
    """Whether the pairs of some group, and with them all that it answers for, have to be looked at again."""
    return any(
        _ha(old.get("serviceenginegroup", uuid)) != _ha(new.get("serviceenginegroup", uuid))
        for uuid in changed.get("serviceenginegroup", [])
    )


def _ha(group: Body | None) -> list[object]:
    return [(group or {}).get(name) for name in HA_FIELDS]

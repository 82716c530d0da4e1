"""What a change may break elsewhere, and the checks that would notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from avish.config.checks_pools import services_of_pool
from avish.config.config import Change, Config, uuid_in
from avish.config.engines import engines
from avish.config.services import profile_type

Look = tuple[str, str, tuple[str, ...]]
"""Type and uuid of an object, and the checks to run on it."""
OF_GROUP = ("routing_needs_legacy_ha", "distribution_against_routing", "second_floating_needs_distribution")
"""What a network service needs of its service engine group."""


def dependents(old: Config, new: Config, change: Change) -> Iterator[Look]:  # noqa: C901, PLR0912  (one case per type)
    """The objects to look at again after ``change``, which is one of those between ``old`` and ``new``."""
    uuid = change.uuid
    match change.type:
        case "serviceenginegroup":
            yield from _of_group(old, new, uuid)
        case "natpolicy":
            yield from _referring(
                new, uuid, "networkservice", "nat_ip_not_interface_ip_of_service", "nat_ip_in_one_group"
            )
        case "applicationprofile":
            yield from _referring(
                new, uuid, "virtualservice", "virtualservice_l4_only", "preserve_client_ip_without_snat"
            )
        case "networkprofile":
            yield from _of_carrier(old, new, uuid)
        case "pool" if _differ(old, new, "pool", uuid, "vrf_ref", "application_persistence_profile_ref"):
            yield from _services(
                services_of_pool(new, uuid),
                "virtualservice_needs_vip_and_pool",
                "group_pools_in_one_vrf",
                "persistence_is_layer_4",
            )
            for policy in new.referring(uuid, "l4policyset"):
                yield from _referring(new, policy, "virtualservice", "policy_pools_in_one_vrf")
        case "poolgroup":
            yield from _referring(new, uuid, "virtualservice", "group_pools_in_one_vrf", "persistence_is_layer_4")
            for policy in new.referring(uuid, "l4policyset"):
                yield from _referring(new, policy, "virtualservice", "policy_pools_in_one_vrf")
        case "l4policyset":
            yield from _referring(new, uuid, "virtualservice", "policy_pools_in_one_vrf")
        case "applicationpersistenceprofile":
            for pool in new.referring(uuid, "pool"):
                yield from _services(services_of_pool(new, pool), "persistence_is_layer_4")
        case "vsvip":
            yield from _referring(new, uuid, "virtualservice", "virtualservice_in_vrf")
        case "serviceengine":
            yield from _of_engine(old, new, uuid)
        case _:
            return


def _differ(old: Config, new: Config, kind: str, uuid: str, *fields: str) -> bool:
    before, after = old.get(kind, uuid) or {}, new.get(kind, uuid) or {}
    return any(before.get(field) != after.get(field) for field in fields)


def _referring(config: Config, uuid: str, kind: str, *checks: str) -> Iterator[Look]:
    return ((kind, referrer, checks) for referrer in config.referring(uuid, kind))


def _services(uuids: Iterable[str], *checks: str) -> Iterator[Look]:
    return (("virtualservice", uuid, checks) for uuid in uuids)


def _of_group(old: Config, new: Config, uuid: str) -> Iterator[Look]:
    if not _differ(old, new, "serviceenginegroup", uuid, "ha_mode", "distribute_load_active_standby"):
        return
    yield from _referring(new, uuid, "networkservice", *OF_GROUP)
    yield from _referring(new, uuid, "virtualservice", "standby_tag_needs_distribution", "mirror_needs_legacy_ha")


def _of_carrier(old: Config, new: Config, uuid: str) -> Iterator[Look]:
    ref = f"/api/networkprofile/{uuid}"
    if profile_type(old, ref) != profile_type(new, ref):
        yield from _referring(new, uuid, "virtualservice", "virtualservice_l4_only", "vip_and_port_once")
    if _differ(old, new, "networkprofile", uuid, "connection_mirror"):
        yield from _referring(new, uuid, "virtualservice", "mirror_needs_legacy_ha")


def _of_engine(old: Config, new: Config, uuid: str) -> Iterator[Look]:
    """An engine's networks carry floating addresses; its own addresses may be no VIP and no NAT IP."""
    bodies = [body for body in (old.get("serviceengine", uuid), new.get("serviceengine", uuid)) if body]
    for group in dict.fromkeys(uuid_in(body.get("se_group_ref")) for body in bodies):
        yield from _referring(new, group, "networkservice", "floating_ip_in_se_network")
    for policy in new.all("natpolicy"):
        yield "natpolicy", policy["uuid"], ("nat_ip_not_interface_ip",)
    for engine in engines(new):
        for port in engine.ports if engine.uuid == uuid else ():
            for vsvip in new.vsvips_with(port.address):
                yield "vsvip", vsvip, ("vip_addresses",)

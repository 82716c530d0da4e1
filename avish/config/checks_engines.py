"""Checks of service engine groups: high availability, and what depends on it."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.checked import Checked
from avish.config.config import Body
from avish.errors import Issue

LEGACY = "HA_MODE_LEGACY_ACTIVE_STANDBY"
PAIR = 2
SECOND = "ACTIVE_STANDBY_SE_2"
FAST_PATH = "PROTOCOL_TYPE_TCP_FAST_PATH"


def legacy_ha_has_two_engines(checked: Checked) -> Iterator[Issue]:
    """One engine is active, one waits: there is no part for a third."""
    body = checked.body
    names = sorted({engine.name for engine in checked.engines if engine.group == body["uuid"]})
    if body["ha_mode"] == LEGACY and len(names) > PAIR:
        yield checked.error(
            "ha_mode",
            f"legacy active/standby is for two engines, but this group has {len(names)} ({', '.join(names)}); "
            "move some to another group (configure serviceengine NAME, se_group_ref GROUP)",
        )


def vlans_are_not_made(checked: Checked) -> Iterator[Issue]:
    """The interfaces of an engine are those that it finds."""
    for number, vnic in enumerate(checked.body.get("data_vnics", []), 1):
        path, name = f"data_vnics[{number}]", vnic.get("if_name") or "eth1"
        made = (
            f"make them beside it (ip link add link {name} name {name}.100 type vlan id 100, as far as the kernel has "
        )
        remedy = f"VLANs are not made by an engine; {made}VLANs), and name them in the topology"
        if vnic.get("vlan_interfaces"):
            yield checked.error(f"{path}.vlan_interfaces", remedy)
        if vnic.get("vlan_id"):
            yield checked.error(f"{path}.vlan_id", remedy)


def pair_shares_a_network(checked: Checked) -> Iterator[Issue]:
    """Two engines that cannot hear each other cannot agree which of them is active."""
    body = checked.body
    members = [engine for engine in checked.engines if engine.group == body["uuid"]]
    for vrf in dict.fromkeys(engine.vrf for engine in members) if body["ha_mode"] == LEGACY else ():
        pair = [engine for engine in members if engine.vrf == vrf][:PAIR]
        networks = [{port.network for port in engine.ports} for engine in pair]
        if len(pair) == PAIR and all(networks) and not networks[0] & networks[1]:
            yield checked.warning(
                "ha_mode",
                f"{pair[0].name} and {pair[1].name} have no network in common in VRF {vrf}: they are no pair, "
                "the one that was there first answers, and nobody takes over (give them interfaces in one network)",
            )


def second_floating_needs_distribution(checked: Checked) -> Iterator[Issue]:
    """The second set follows the engine of the second tag, which is there only where the load is distributed."""
    group = checked.config.target(checked.body["se_group_ref"])
    second = checked.body.get("routing_service", {}).get("floating_intf_ip_se_2")
    if group and second and not group.get("distribute_load_active_standby"):
        name = group["name"]
        yield checked.error(
            "routing_service.floating_intf_ip_se_2",
            f"needs distribute_load_active_standby in serviceenginegroup {name}, without which the second engine is "
            f"active for nothing; set it there (configure serviceenginegroup {name}), or use floating_intf_ip",
        )


def distribution_needs_legacy_ha(checked: Checked) -> Iterator[Issue]:
    """Only active/standby groups have a load to distribute over their two engines."""
    body = checked.body
    for field in ("distribute_load_active_standby", "auto_redistribute_active_standby_load"):
        if body.get(field) and body["ha_mode"] != LEGACY:
            yield checked.error(
                field,
                f"needs the HA mode legacy active/standby, but ha_mode is {body['ha_mode']}; "
                f"set ha_mode {LEGACY.lower()}, or no {field}",
            )


def distribution_against_routing(checked: Checked) -> Iterator[Issue]:
    """Routing follows the one active engine; with a distributed load both are active."""
    group = checked.config.target(checked.body["se_group_ref"])
    routing = checked.body.get("routing_service", {})
    if group and group.get("distribute_load_active_standby") and routing.get("enable_routing"):
        name = group["name"]
        yield checked.error(
            "routing_service.enable_routing",
            f"does not go with distribute_load_active_standby of serviceenginegroup {name}; set no enable_routing, "
            f"or no distribute_load_active_standby there (configure serviceenginegroup {name})",
        )


def standby_tag_needs_distribution(checked: Checked) -> Iterator[Issue]:
    """The second engine is active for something only where the load is distributed."""
    group = checked.config.target(checked.body.get("se_group_ref"))
    if group is None or checked.body.get("active_standby_se_tag") != SECOND:
        return
    if not group.get("distribute_load_active_standby"):
        name = group["name"]
        yield checked.error(
            "active_standby_se_tag",
            f"{SECOND} needs distribute_load_active_standby in serviceenginegroup {name}; "
            f"set it there (configure serviceenginegroup {name}), or active_standby_se_tag active_standby_se_1 here",
        )


def one_tag_per_vsvip(checked: Checked) -> Iterator[Issue]:
    """An address is on one engine: its virtual services share the tag."""
    body, config = checked.body, checked.config
    vsvip = config.target(body.get("vsvip_ref"))
    if vsvip is None:
        return
    for uuid in config.referring(vsvip["uuid"], "virtualservice"):
        other = config.get("virtualservice", uuid)
        if other and other.get("active_standby_se_tag") != body.get("active_standby_se_tag"):
            yield checked.error(
                "active_standby_se_tag",
                f"virtualservice {other['name']} has vsvip {vsvip['name']} with {other.get('active_standby_se_tag')}; "
                "use the same tag, or a vsvip of its own",
            )
            return


def mirror_needs_legacy_ha(checked: Checked) -> Iterator[Issue]:
    """Connections are mirrored to a standby engine, which only active/standby groups have."""
    profile = checked.config.target(checked.body.get("network_profile_ref"))
    group = checked.config.target(checked.body.get("se_group_ref"))
    if profile and group and profile.get("connection_mirror") and group["ha_mode"] != LEGACY:
        yield checked.error(
            "network_profile_ref",
            f"{profile['name']} has connection_mirror, which needs the HA mode legacy active/standby, but "
            f"serviceenginegroup {group['name']} has {group['ha_mode']}; use another profile, or change ha_mode there",
        )


def mirror_needs_fast_path(checked: Checked) -> Iterator[Issue]:
    """Only connections that pass through unchanged can be mirrored."""
    body: Body = checked.body
    if body.get("connection_mirror") and body["profile"]["type"] != FAST_PATH:
        yield checked.error(
            "connection_mirror",
            f"needs profile type {FAST_PATH.lower()}, but it is {body['profile']['type']}; "
            "change the type, or set no connection_mirror",
        )

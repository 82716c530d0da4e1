"""The checks that the grammar names (``checks:`` of an object type)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from avish.config import (
    checks_carried,
    checks_engines,
    checks_policies,
    checks_pools,
    checks_profiles,
    checks_routing,
    checks_service,
    checks_system,
)
from avish.config.checked import Check, Checked
from avish.errors import Issue, SchemaError
from avish.schema.model import Schema


def address_ranges_ordered(checked: Checked) -> Iterator[Issue]:
    """A range runs upwards, within one family."""
    for path, value in _ranges(checked.body, ""):
        begin, end = value["begin"], value["end"]
        if begin["type"] != end["type"]:
            yield checked.error(path, f"{begin['addr']} and {end['addr']} are not of one IP version")
        elif int(ip_address(begin["addr"])) > int(ip_address(end["addr"])):
            yield checked.error(path, f"{begin['addr']}-{end['addr']} runs backwards; exchange begin and end")


def _ranges(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for number, item in enumerate(value, 1):
            yield from _ranges(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        if isinstance(value.get("begin"), dict) and isinstance(value.get("end"), dict):
            yield path, value
        for name, item in value.items():
            yield from _ranges(item, f"{path}.{name}" if path else name)


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        address_ranges_ordered,
        checks_routing.nat_rule_indexes,
        checks_routing.nat_rules_complete,
        checks_routing.nat_ip_not_interface_ip,
        checks_routing.nat_ip_not_interface_ip_of_service,
        checks_routing.nat_needs_routing,
        checks_routing.routing_needs_legacy_ha,
        checks_routing.floating_ip_in_se_network,
        checks_routing.one_networkservice_per_group_and_vrf,
        checks_routing.networkservice_in_vrf,
        checks_routing.static_routes_once,
        checks_routing.vrf_has_engines,
        checks_routing.vmac_has_a_pair,
        checks_routing.auto_gateway_of_ipv4,
        checks_routing.nat_ip_not_interface_ip_in_vrf,
        checks_routing.routing_moved_to_networkservice,
        checks_service.virtualservice_needs_vip_and_pool,
        checks_service.virtualservice_l4_only,
        checks_service.vip_and_port_once,
        checks_service.vsvip_in_one_group,
        checks_service.preserve_client_ip_without_snat,
        checks_service.virtualservice_in_vrf,
        checks_service.vip_addresses,
        checks_service.pool_servers_once,
        checks_carried.lb_algorithm_supported,
        checks_carried.limits_are_layer_4,
        checks_carried.profile_limits_are_layer_4,
        checks_carried.packets_stay_on_their_server,
        checks_carried.rules_look_nothing_up,
        checks_carried.selected_pools_keep_nobody,
        checks_carried.ftp_data_port_needs_ftp,
        checks_carried.wildcard_is_fast_path,
        checks_carried.routing_without_bgp,
        checks_carried.bgp_is_not_announced,
        checks_routing.nat_ip_in_one_group,
        checks_engines.distribution_needs_legacy_ha,
        checks_engines.distribution_against_routing,
        checks_engines.standby_tag_needs_distribution,
        checks_engines.one_tag_per_vsvip,
        checks_engines.mirror_needs_legacy_ha,
        checks_engines.mirror_needs_fast_path,
        checks_pools.pool_or_group,
        checks_pools.group_pools_in_one_vrf,
        checks_pools.persistence_is_layer_4,
        checks_pools.hash_header_named,
        checks_pools.global_algorithms,
        checks_pools.routing_pool_without_servers,
        checks_pools.enough_monitors,
        checks_pools.monitors_are_tested,
        checks_pools.monitor_times,
        checks_pools.half_open_sends_nothing,
        checks_pools.multiplexing_against_preserve,
        checks_policies.security_rules_complete,
        checks_policies.l4_rules_complete,
        checks_system.certificate_warnings,
        checks_system.ntp_keys_known,
        checks_pools.policy_pools_in_one_vrf,
        checks_engines.legacy_ha_has_two_engines,
        checks_engines.vlans_are_not_made,
        checks_engines.pair_shares_a_network,
        checks_engines.second_floating_needs_distribution,
        checks_profiles.ftp_profile_follows_something,
        checks_profiles.preserved_port_needs_address,
        checks_profiles.preserved_destination_is_layer_4,
        checks_profiles.preserve_client_ip_in_legacy_ha,
        checks_profiles.monitor_complete,
        checks_profiles.one_lost_ping_is_no_failure,
        checks_system.alert_rule_complete,
        checks_system.autoscale_sizes,
        checks_system.backup_goes_somewhere,
        checks_system.cluster_nodes_sound,
        checks_system.schedule_complete,
        checks_pools.persistence_profile_complete,
    )
}


def require_checks(schema: Schema) -> None:
    """SchemaError when the grammar names a check that is not here. To be called at start-up."""
    for kind in schema.objects():
        for name in kind.checks:
            if name not in CHECKS:
                raise SchemaError(f"objects/{kind.name}.yaml: checks: unknown check {name!r}")

"""Checks of pools, pool groups, their monitors and how clients keep to a server."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.checked import Checked
from avish.config.config import Body, Config
from avish.config.health import KINDS
from avish.errors import Issue

CUSTOM_HEADER = "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER"
GLOBAL_ONLY = ("LB_ALGORITHM_NEAREST_SERVER", "LB_ALGORITHM_TOPOLOGY")
GOES_BY = {
    "PERSISTENCE_TYPE_CUSTOM_HTTP_HEADER": ("hdr_persistence_profile", "prst_hdr_name"),
    "PERSISTENCE_TYPE_APP_COOKIE": ("app_cookie_persistence_profile", "prst_hdr_name"),
}
"""Kind of persistence: where the name of what it goes by stands."""
IPV4_BITS = 32
LAYER_4_PERSISTENCE = ("PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "PERSISTENCE_TYPE_CLIENT_IPV6_ADDRESS")


def pool_or_group(checked: Checked) -> Iterator[Issue]:
    """Connections go to a pool or to a pool group."""
    body = checked.body
    if body.get("pool_ref") and body.get("pool_group_ref"):
        yield checked.error("pool_group_ref", "there is a pool_ref as well; keep one of them (no pool_ref)")
    for number, item in enumerate(body.get("service_pool_select", []), 1):
        path = f"service_pool_select[{number}]"
        if bool(item.get("service_pool_ref")) == bool(item.get("service_pool_group_ref")):
            yield checked.error(path, "give either service_pool_ref or service_pool_group_ref, one of the two")
        end = item.get("service_port_range_end")
        if end and end < item["service_port"]:
            yield checked.error(
                path,
                f"service_port_range_end {end} is below service_port {item['service_port']}; "
                "set service_port_range_end 0 for a single port",
            )


def group_pools_in_one_vrf(checked: Checked) -> Iterator[Issue]:
    """Engines reach all servers of a virtual service in its own VRF."""
    body = checked.body
    for pool in group_pools(checked.config, checked.config.target(body.get("pool_group_ref"))):
        if pool.get("vrf_ref") != body.get("vrf_context_ref"):
            yield checked.error(
                "pool_group_ref",
                f"VRF Context for {body['name']} and pool {pool['name']} different; "
                "set vrf_context_ref here or vrf_ref there to the same VRF",
            )


def policy_pools_in_one_vrf(checked: Checked) -> Iterator[Issue]:
    """The same for the pools that layer 4 rules select."""
    config, body = checked.config, checked.body
    for number, item in enumerate(body.get("l4_policies", []), 1):
        policy = config.target(item.get("l4_policy_set_ref"))
        for pool in selected_pools(config, policy):
            if pool.get("vrf_ref") != body.get("vrf_context_ref"):
                yield checked.error(
                    f"l4_policies[{number}]",
                    f"VRF Context for {body['name']} and pool {pool['name']} (l4policyset {(policy or {})['name']}) "
                    "different; set vrf_context_ref here or vrf_ref there to the same VRF",
                )


def selected_pools(config: Config, policy: Body | None) -> Iterator[Body]:
    """The pools that the rules of a layer 4 policy set select, also through a pool group."""
    for rule in (policy or {}).get("l4_connection_policy", {}).get("rules", []):
        action = rule.get("action", {}).get("select_pool", {})
        pool = config.target(action.get("pool_ref"))
        yield from [pool] if pool else []
        yield from group_pools(config, config.target(action.get("pool_group_ref")))


def persistence_is_layer_4(checked: Checked) -> Iterator[Issue]:
    """A cookie or header is not seen at layer 4."""
    body, config = checked.body, checked.config
    pools = [config.target(body.get("pool_ref")), *group_pools(config, config.target(body.get("pool_group_ref")))]
    for pool in pools:
        profile = config.target(pool.get("application_persistence_profile_ref")) if pool else None
        if pool and profile and profile["persistence_type"] not in LAYER_4_PERSISTENCE:
            yield checked.error(
                "pool_ref",
                f"pool {pool['name']} keeps clients by {profile['persistence_type']} (applicationpersistenceprofile "
                f"{profile['name']}); only client addresses are seen at layer 4 (application_persistence_profile_ref "
                "System-Persistence-Client-IP)",
            )


def persistence_profile_complete(checked: Checked) -> Iterator[Issue]:
    """Each kind of persistence has settings of its own; what it goes by has to be named."""
    body = checked.body
    kind = body["persistence_type"]
    for other, (profile, field) in GOES_BY.items():
        if kind == other and not body.get(profile, {}).get(field):
            yield checked.error(
                profile, f"{field} is missing: persistence_type is {kind} ({profile}, then {field} NAME)"
            )
    mask = body.get("ip_persistence_profile", {}).get("ip_mask", 0)
    if kind == "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS" and mask > IPV4_BITS:
        yield checked.error(
            "ip_persistence_profile.ip_mask",
            f"{mask} bits are more than an IPv4 address has; give at most {IPV4_BITS}, or use "
            "persistence_type persistence_type_client_ipv6_address",
        )


def group_pools(config: Config, group: Body | None) -> list[Body]:
    """The pools of a pool group."""
    members = (group or {}).get("members", [])
    return [pool for pool in (config.target(member["pool_ref"]) for member in members) if pool is not None]


def services_of_pool(config: Config, uuid: str) -> Iterator[str]:
    """The uuids of the virtual services that send connections to a pool, also through a pool group."""
    yield from config.referring(uuid, "virtualservice")
    for group in config.referring(uuid, "poolgroup"):
        yield from config.referring(group, "virtualservice")


def hash_header_named(checked: Checked) -> Iterator[Issue]:
    """A hash over a header needs its name."""
    body = checked.body
    hashed = body["lb_algorithm"] == "LB_ALGORITHM_CONSISTENT_HASH" and body["lb_algorithm_hash"] == CUSTOM_HEADER
    if hashed and not body.get("lb_algorithm_consistent_hash_hdr"):
        yield checked.error(
            "lb_algorithm_consistent_hash_hdr",
            "is missing: the hash is over a header (lb_algorithm_consistent_hash_hdr NAME), "
            "or choose another lb_algorithm_hash",
        )


def global_algorithms(checked: Checked) -> Iterator[Issue]:
    """Places of clients are known to global load balancing only."""
    algorithm = checked.body["lb_algorithm"]
    if algorithm in GLOBAL_ONLY:
        yield checked.error(
            "lb_algorithm",
            f"{algorithm} is for pools of a global service only; choose another one (lb_algorithm_round_robin)",
        )


def routing_pool_without_servers(checked: Checked) -> Iterator[Issue]:
    """A routing pool routes to what the client asked for."""
    if checked.body.get("routing_pool") and checked.body.get("servers"):
        yield checked.error(
            "routing_pool",
            "a routing pool has no servers, connections go to the address the client asked for; "
            "take the servers out, or set no routing_pool",
        )


def enough_monitors(checked: Checked) -> Iterator[Issue]:
    """More monitors than there are can never pass."""
    wanted, there = checked.body.get("min_health_monitors_up", 0), len(checked.body.get("health_monitor_refs", []))
    if wanted > there:
        yield checked.error(
            "min_health_monitors_up",
            f"{wanted} monitors cannot pass where there are {there}; "
            "add some (health_monitor_refs NAME), or lower the number",
        )


def monitors_are_tested(checked: Checked) -> Iterator[Issue]:
    """A monitor of a kind that is not tested says nothing about a server."""
    for number, ref in enumerate(checked.body.get("health_monitor_refs", []), 1):
        monitor = checked.config.target(ref)
        if monitor is not None and monitor["type"] not in KINDS:
            yield checked.warning(
                f"health_monitor_refs[{number}]",
                f"{monitor['name']} is a {monitor['type']}, which is not tested here: servers count as up by it; "
                f"tested are {', '.join(kind.removeprefix('HEALTH_MONITOR_') for kind in KINDS)}",
            )


def monitor_times(checked: Checked) -> Iterator[Issue]:
    """An answer is due before the next question."""
    wait, interval = checked.body["receive_timeout"], checked.body["send_interval"]
    if wait >= interval:
        yield checked.error(
            "receive_timeout",
            f"{wait} sec must be below send_interval ({interval} sec); lower it, or raise send_interval",
        )


def half_open_sends_nothing(checked: Checked) -> Iterator[Issue]:
    """A half-open probe ends before data could be sent."""
    tcp = checked.body.get("tcp_monitor", {})
    for field in ("tcp_request", "tcp_response"):
        if tcp.get("tcp_half_open") and tcp.get(field):
            yield checked.error(
                f"tcp_monitor.{field}",
                f"does not go with tcp_half_open, which never sends data; set no {field}, or no tcp_half_open",
            )


def multiplexing_against_preserve(checked: Checked) -> Iterator[Issue]:
    """A shared connection to a server cannot carry the address of each client."""
    body = checked.body
    if body.get("preserve_client_ip") and body.get("http_profile", {}).get("connection_multiplexing_enabled"):
        yield checked.error(
            "preserve_client_ip",
            "does not go with http_profile.connection_multiplexing_enabled; "
            "set no connection_multiplexing_enabled there, or no preserve_client_ip",
        )

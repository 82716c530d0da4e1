"""What the kernel cannot do of a service is refused or said: limits, policies, FTP, wildcard addresses, algorithms."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.checked import Checked
from avish.config.config import Body
from avish.config.services import ftp_profile, vip_targets
from avish.errors import Issue

HASH = "LB_ALGORITHM_CONSISTENT_HASH"
HASHED = (
    "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS",
    "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT",
)
CARRIED = (
    "LB_ALGORITHM_ROUND_ROBIN", "LB_ALGORITHM_LEAST_CONNECTIONS", "LB_ALGORITHM_RANDOM", HASH,
    "LB_ALGORITHM_NEAREST_SERVER", "LB_ALGORITHM_TOPOLOGY",
)  # fmt: skip
"""Algorithms that are built; the last two are refused by a check of their own."""
LAYER_7_ACTIONS = ("RL_ACTION_LOCAL_RSP", "RL_ACTION_REDIRECT")
UNROUTED = {
    "advertise_backend_networks": "there is no BGP to announce by; give the routers static routes",
    "routing_by_linux_ipstack": "all routing is by the Linux kernel",
}
"""Fields of a routing service without effect, and why."""
LOOKED_UP = ("geo_matches", "ip_reputation_type", "microservice")


def lb_algorithm_supported(checked: Checked) -> Iterator[Issue]:
    """An algorithm that goes by what the kernel does not see cannot be carried."""
    body = checked.body
    algorithm, key = body["lb_algorithm"], body["lb_algorithm_hash"]
    if algorithm not in CARRIED:
        yield checked.error(
            "lb_algorithm",
            f"{algorithm} goes by times or loads of servers that the kernel does not measure; "
            "choose lb_algorithm_least_connections or lb_algorithm_round_robin",
        )
    if algorithm == HASH and key not in HASHED:
        yield checked.error(
            "lb_algorithm_hash",
            f"{key} needs layer 7; choose lb_algorithm_consistent_hash_source_ip_address, "
            "or lb_algorithm_consistent_hash_source_ip_address_and_port",
        )
    if body.get("ipaddrgroup_ref"):
        yield checked.warning("ipaddrgroup_ref", "is kept; only the servers listed in the pool get connections")
    yield from _rate_issues(checked, "max_conn_rate_per_server", body.get("max_conn_rate_per_server"))


def limits_are_layer_4(checked: Checked) -> Iterator[Issue]:
    """Connections are counted; requests and bytes are not."""
    body = checked.body
    yield from _rate_issues(checked, "connections_rate_limit", body.get("connections_rate_limit"))
    if body.get("requests_rate_limit"):
        yield checked.warning("requests_rate_limit", "is kept; HTTP requests are not seen at layer 4")
    if body.get("performance_limits", {}).get("max_throughput"):
        yield checked.warning("performance_limits.max_throughput", "is kept; bytes are not limited here")


def profile_limits_are_layer_4(checked: Checked) -> Iterator[Issue]:
    """The same of a profile."""
    rates = checked.body.get("dos_rl_profile", {}).get("rl_profile", {})
    path = "dos_rl_profile.rl_profile.client_ip_connections_rate_limit"
    yield from _rate_issues(checked, path, rates.get("client_ip_connections_rate_limit"))


def _rate_issues(checked: Checked, path: str, profile: Body | None) -> Iterator[Issue]:
    action = (profile or {}).get("action", {}).get("type")
    if action in LAYER_7_ACTIONS:
        yield checked.error(
            f"{path}.action.type", f"{action} answers HTTP; choose rl_action_drop_conn or rl_action_reset_conn"
        )
    elif profile is not None and action in (None, "RL_ACTION_NONE"):
        yield checked.warning(
            f"{path}.action.type", "RL_ACTION_NONE limits nothing; choose rl_action_drop_conn or rl_action_reset_conn"
        )


def packets_stay_on_their_server(checked: Checked) -> Iterator[Issue]:
    """The kernel chooses once for a flow."""
    profile = checked.config.target(checked.body.get("network_profile_ref")) or {}
    if profile.get("profile", {}).get("udp_fast_path_profile", {}).get("per_pkt_loadbalance"):
        yield checked.warning(
            "network_profile_ref",
            f"{profile['name']} balances each packet (per_pkt_loadbalance); "
            "here all packets of a flow go to the server that got its first one",
        )


def rules_look_nothing_up(checked: Checked) -> Iterator[Issue]:
    """Places, reputations and microservices are not known: such a rule would match nobody, or everybody."""
    for number, rule in enumerate(checked.body.get("rules", []), 1):
        for field in LOOKED_UP:
            if rule["match"].get(field):
                yield checked.error(
                    f"rules[{number}].match.{field}",
                    "cannot be looked up here; compare addresses instead (client_ip), and set no " + field,
                )
        if rule.get("age"):
            yield checked.warning(f"rules[{number}].age", "is kept; the rule stays until it is taken out")


def selected_pools_keep_nobody(checked: Checked) -> Iterator[Issue]:
    """A client is bound to a server of a service as a whole."""
    for path, pool in _selected(checked):
        if pool.get("application_persistence_profile_ref"):
            yield checked.error(
                path,
                f"pool {pool['name']} has a persistence profile; clients are kept by the pool of the virtual service "
                "only, not by one that a rule selects (take application_persistence_profile_ref out of that pool)",
            )


def _selected(checked: Checked) -> Iterator[tuple[str, Body]]:
    """(path, pool) of those that rules select."""
    for number, rule in enumerate(checked.body.get("l4_connection_policy", {}).get("rules", []), 1):
        action = rule.get("action", {}).get("select_pool", {})
        path = f"l4_connection_policy.rules[{number}].action.select_pool"
        group = checked.config.target(action.get("pool_group_ref")) or {}
        for ref in (action.get("pool_ref"), *(member["pool_ref"] for member in group.get("members", []))):
            pool = checked.config.target(ref)
            if pool is not None:
                yield path, pool


def ftp_data_port_needs_ftp(checked: Checked) -> Iterator[Issue]:
    """Only where FTP is followed is a data connection known as one."""
    body, config = checked.body, checked.config
    usual = config.target(body.get("application_profile_ref")) or {}
    follows = any(
        ftp_profile(config.target(item.get("override_application_profile_ref")) or usual) is not None
        for item in body.get("services", [])
    )
    for number, item in enumerate(body.get("services", []), 1):
        if item.get("is_active_ftp_data_port") and not follows:
            yield checked.error(
                f"services[{number}].is_active_ftp_data_port",
                "needs a profile that follows FTP (application_profile_ref System-FTP); without one leave this port "
                "out: active FTP needs preserve_client_ip and a NAT policy for source port 20",
            )


def wildcard_is_fast_path(checked: Checked) -> Iterator[Issue]:
    """A VIP that is a whole network, and servers that see what the client asked for."""
    body, config = checked.body, checked.config
    pool = config.target(body.get("pool_ref")) or {}
    profile = config.target(body.get("application_profile_ref")) or {}
    if profile.get("preserve_dest_ip_port") and not pool.get("routing_pool"):
        yield checked.error(
            "application_profile_ref",
            f"{profile['name']} keeps the destination (preserve_dest_ip_port), which the kernel does for a pool that "
            "only routes; set routing_pool in the pool, or no preserve_dest_ip_port",
        )
    networks = [target for target in vip_targets(config.target(body.get("vsvip_ref"))) if "/" in target]
    if pool.get("routing_pool") and not networks:
        yield checked.warning("pool_ref", f"pool {pool['name']} only routes, but no VIP is a network (prefix_length)")
    if body.get("use_vip_as_snat") and networks:
        yield checked.error("use_vip_as_snat", f"{networks[0]} is a network and no source address; give snat_ip")


def routing_without_bgp(checked: Checked) -> Iterator[Issue]:
    """What of the routing service nobody here does."""
    routing = checked.body.get("routing_service", {})
    for field, reason in UNROUTED.items():
        if routing.get(field):
            yield checked.warning(f"routing_service.{field}", f"is kept; {reason}")


def bgp_is_not_announced(checked: Checked) -> Iterator[Issue]:
    """No routing daemon runs here."""
    if checked.body.get("bgp_profile"):
        yield checked.warning(
            "bgp_profile",
            "is kept and shown, but nothing is announced: give the routers static routes to the VIPs and floating "
            "addresses",
        )

"""Checks of what is load balanced: virtual services, their VIPs and pools."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_address
from itertools import pairwise

from avish.config.checked import Checked
from avish.config.checks_routing import ODD_ADDRESSES, vrf_issues
from avish.config.config import Body
from avish.config.services import PROTOCOLS, PortRange, port_ranges, profile_type, rivals_of, users_of
from avish.errors import Issue

L4 = "APPLICATION_PROFILE_TYPE_L4"
CARRIED_AS = {
    "PROTOCOL_TYPE_TCP_PROXY": "TCP fast path: one connection, addresses translated",
    "PROTOCOL_TYPE_UDP_PROXY": "UDP fast path",
}


def virtualservice_needs_vip_and_pool(checked: Checked) -> Iterator[Issue]:
    """Where clients connect to, and who answers them."""
    body, config = checked.body, checked.config
    if body.get("address"):
        yield checked.warning("address", "is kept without effect: addresses are in the vsvip")
    if not body.get("vsvip_ref"):
        yield checked.error("", "vsvip_ref is missing (configure vsvip NAME first, then vsvip_ref NAME)")
    if not body.get("services"):
        yield checked.error("", "services are missing (services port NUMBER)")
    pool = config.target(body.get("pool_ref"))
    if pool is None and not (body.get("pool_group_ref") or body.get("l4_policies") or body.get("service_pool_select")):
        yield checked.warning("", "there is no pool_ref: every connection is refused")
    elif pool is not None and pool.get("vrf_ref") != body.get("vrf_context_ref"):
        yield checked.error(
            "pool_ref",
            f"VRF Context for {body['name']} and pool {pool['name']} different; "
            "set vrf_context_ref here or vrf_ref there to the same VRF",
        )


def virtualservice_l4_only(checked: Checked) -> Iterator[Issue]:
    """What would have to look into the data is refused, what is carried differently is said."""
    yield from _profile_issues(checked, "application_profile_ref", checked.body.get("application_profile_ref"))
    yield from _carrier_issues(checked, "network_profile_ref", checked.body.get("network_profile_ref"))
    for number, service in enumerate(checked.body.get("services", []), 1):
        path = f"services[{number}]"
        for field, issues in (
            ("override_application_profile_ref", _profile_issues),
            ("override_network_profile_ref", _carrier_issues),
        ):
            if service.get(field):
                yield from issues(checked, f"{path}.{field}", service[field])
        if service.get("enable_ssl"):
            yield checked.error(
                f"{path}.enable_ssl",
                "TLS is not terminated; set no enable_ssl, the servers then see the TLS connection of the client",
            )
        if service["port"] == 0 and not service.get("port_range_end"):
            yield checked.error(
                f"{path}.port", "port 0 is no port clients can connect to; give 1-65535, or all (port_range_end 65535)"
            )
        elif (service.get("port_range_end") or service["port"]) < service["port"]:
            end = service["port_range_end"]
            yield checked.error(
                path,
                f"port_range_end {end} is below port {service['port']}; "
                f"set port_range_end {service['port']} for a single port",
            )
    if checked.body.get("type", "VS_TYPE_NORMAL") != "VS_TYPE_NORMAL":
        yield checked.error("type", "virtual hosting needs layer 7, which is not forwarded; set type vs_type_normal")


def _profile_issues(checked: Checked, path: str, ref: str | None) -> Iterator[Issue]:
    profile = checked.config.target(ref)
    if profile is not None and profile["type"] != L4:
        kind = profile["type"].rpartition("_")[2]
        yield checked.error(
            path,
            f"{profile['name']} is an {kind} profile; only layer 4 is forwarded "
            "(application_profile_ref System-L4-Application)",
        )


def _carrier_issues(checked: Checked, path: str, ref: str | None) -> Iterator[Issue]:
    kind = profile_type(checked.config, ref)
    profile = checked.config.target(ref)
    if profile is None:
        return
    if kind not in PROTOCOLS:
        yield checked.error(
            path,
            f"{profile['name']} is of type {kind}; only TCP and UDP are forwarded "
            "(network_profile_ref System-TCP-Fast-Path or System-UDP-Fast-Path)",
        )
    if kind in CARRIED_AS:
        yield checked.warning(path, f"{profile['name']} is carried as {CARRIED_AS[kind]}")


def vip_and_port_once(checked: Checked) -> Iterator[Issue]:
    """A connection is for one virtual service."""
    config, body = checked.config, checked.body
    mine = list(port_ranges(config, body))
    for one, other in _clashes(mine):
        yield checked.error("services", f"{one} and {other} overlap; give each port once")
    for address in _addresses(config.target(body.get("vsvip_ref")) or {}):
        for rival, taken in rivals_of(config, address, mine):
            if rival["uuid"] != body["uuid"] and rival.get("vrf_context_ref") == body.get("vrf_context_ref"):
                yield checked.error(
                    "services",
                    f"virtualservice {rival['name']} has VIP {address} {taken} "
                    "already; use another port or another VIP",
                )


def vsvip_in_one_group(checked: Checked) -> Iterator[Issue]:
    """A VIP is answered by the engines of one group."""
    config, body = checked.config, checked.body
    vsvip = config.target(body.get("vsvip_ref"))
    for kind, uuid in config.referrers(vsvip["uuid"]) if vsvip else ():
        other = config.get(kind, uuid) if kind == "virtualservice" else None
        if vsvip and other and other.get("se_group_ref") != body.get("se_group_ref"):
            group = config.target(other.get("se_group_ref")) or {"name": "none"}
            yield checked.error(
                "se_group_ref",
                f"virtualservice {other['name']} has vsvip {vsvip['name']} in group "
                f"{group['name']}; use the same group, or a vsvip of its own",
            )
            return


def _clashes(ranges: list[PortRange]) -> Iterator[tuple[PortRange, PortRange]]:
    ordered = sorted(ranges, key=lambda item: (item.protocol, item.first))
    return ((one, other) for one, other in pairwise(ordered) if one.overlaps(other))


def _addresses(vsvip: Body) -> list[str]:
    """All addresses, those switched off included: they may be switched on again."""
    return [vip[name]["addr"] for vip in vsvip.get("vip", []) for name in ("ip_address", "ip6_address") if name in vip]


def preserve_client_ip_without_snat(checked: Checked) -> Iterator[Issue]:
    """The servers see either the client's address or another."""
    body = checked.body
    profile = checked.config.target(body.get("application_profile_ref"))
    preserves = profile is not None and bool(profile.get("preserve_client_ip"))
    for field in ("snat_ip", "snat_ip6_addresses", "use_vip_as_snat"):
        remedy = f"no {field} ADDRESS for each" if isinstance(body.get(field), list) else f"no {field}"
        if body.get(field) and preserves and profile is not None:
            yield checked.error(
                field,
                f"applicationprofile {profile['name']} preserves the client's address, "
                f"{field} replaces it; take it out ({remedy}), or use a profile that does not",
            )


def virtualservice_in_vrf(checked: Checked) -> Iterator[Issue]:
    """It takes connections where an engine of its group has interfaces, and its VIPs are there too."""
    yield from vrf_issues(checked, "vrf_context_ref", checked.body.get("se_group_ref"))
    vsvip = checked.config.target(checked.body.get("vsvip_ref"))
    if vsvip is not None and vsvip.get("vrf_context_ref") != checked.body.get("vrf_context_ref"):
        yield checked.error(
            "vsvip_ref", f"vsvip {vsvip['name']} is in another VRF; set vrf_context_ref to the same VRF in both"
        )


def vip_addresses(checked: Checked) -> Iterator[Issue]:
    """An address clients can reach, nobody else's, each of its ports once."""
    seen: set[str] = set()
    for number, vip in enumerate(checked.body.get("vip", []), 1):
        path = f"vip[{number}]"
        found = [name for name in ("ip_address", "ip6_address") if name in vip]
        if not found:
            yield checked.error(path, "ip_address is missing (ip_address <x.x.x.x>); addresses are not allocated here")
        for name in found:
            if vip.get("prefix_length", 32) == 32 or vip[name]["type"] == "V6":
                yield from _address_issues(checked, f"{path}.{name}", vip[name]["addr"], seen)
            else:
                yield from _network_issues(checked, f"{path}.prefix_length", vip)


def _network_issues(checked: Checked, path: str, vip: Body) -> Iterator[Issue]:
    """A VIP that is a network: what is sent there has to come by an engine."""
    address, length = vip["ip_address"]["addr"], vip["prefix_length"]
    network = IPv4Network((address, length), strict=False)
    if str(network.network_address) != address:
        yield checked.error(path, f"{address} is not the first address of its /{length}; give {network}")
    yield checked.warning(path, f"{network} is a network: the clients' routers must send what is for it to an engine")


def _address_issues(checked: Checked, path: str, address: str, seen: set[str]) -> Iterator[Issue]:
    if address in seen:
        yield checked.error(path, f"{address} stands here twice; remove one")
    seen.add(address)
    number = ip_address(address)
    if number.is_multicast or number.is_loopback or number.is_unspecified or address.startswith(ODD_ADDRESSES):
        yield checked.error(path, f"{address} is no address a client can connect to")
    vrf = checked.body.get("vrf_context_ref")
    networks = {port.network for engine in checked.engines_in(vrf) for port in engine.ports}
    homes = [network for network in networks if number in network]
    for network in homes:
        ends = (network.network_address, network.broadcast_address)
        if number.version == 4 and number in ends and network.prefixlen < 31:
            yield checked.error(path, f"{address} is no host's address in {network}; use another one")
    if networks and not homes:
        yield checked.warning(path, f"{address} is in no network of the engines: clients need a route to them")
    if checked.interface_of(address, vrf):
        yield checked.error(
            path, f"{address} is the address of interface {checked.interface_of(address, vrf)}; use a free address"
        )
    for service in checked.config.all("networkservice"):
        routing = service.get("routing_service", {})
        floating = [*routing.get("floating_intf_ip", []), *routing.get("floating_intf_ip_se_2", [])]
        if service["vrf_ref"] == vrf and any(item["addr"] == address for item in floating):
            yield checked.error(
                path, f"{address} is a floating_intf_ip of networkservice {service['name']}; use another address"
            )
    yield from _port_issues(checked, path, address)


def _port_issues(checked: Checked, path: str, address: str) -> Iterator[Issue]:
    """The same as vip_and_port_once, for all virtual services of an address at once: sorted, not each against each."""
    users = [
        (body["vrf_context_ref"], item, body["name"])
        for body in users_of(checked.config, address)
        for item in port_ranges(checked.config, body)
    ]
    users.sort(key=lambda user: (user[0], user[1].protocol, user[1].first))
    for (vrf, one, name), (other_vrf, other, other_name) in pairwise(users):
        if vrf == other_vrf and name != other_name and one.overlaps(other):
            yield checked.error(
                path,
                f"virtualservices {name} and {other_name} would both have VIP {address} {other}; "
                "use another address or other ports",
            )


def pool_servers_once(checked: Checked) -> Iterator[Issue]:
    """A server is an address and a port."""
    seen: dict[tuple[str, int], int] = {}
    for number, server in enumerate(checked.body.get("servers", []), 1):
        address, port = server["ip"]["addr"], server.get("port") or checked.body["default_server_port"]
        first = seen.setdefault((address, port), number)
        if first != number:
            yield checked.error(
                f"servers[{number}]",
                f"{address} port {port} is server {first} already (no port means default_server_port); remove one",
            )

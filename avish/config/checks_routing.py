"""Checks of what is routed: network services, NAT policies, static routes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

from avish.config.checked import Checked
from avish.config.config import Body, ref_to, uuid_in
from avish.config.engines import Engine
from avish.config.services import vsvips_in
from avish.config.wellknown import GLOBAL_VRF, MANAGEMENT_VRF, VRF
from avish.errors import Issue

LEGACY = "HA_MODE_LEGACY_ACTIVE_STANDBY"
MAX_NAT_ADDRESSES = 1024
"""Addresses of one nat_ip_range: the active engine answers for each of them."""
ODD_ADDRESSES = ("0.", "127.", "255.")
WITH_PORTS = ("PROTOCOL_TCP", "PROTOCOL_UDP")
FLOATING = ("floating_intf_ip", "floating_intf_ip_se_2")
ADDRESS_LISTS = ("addrs", "prefixes", "ranges", "group_refs")


def nat_rule_indexes(checked: Checked) -> Iterator[Issue]:
    """Indexes count from 0; that none stands twice is the grammar's own check (key)."""
    for path, rule in _rules(checked.body):
        if rule["index"] < 0:
            yield checked.error(f"{path}.index", f"{rule['index']} is below 0; the lowest index is tried first")


def nat_rules_complete(checked: Checked) -> Iterator[Issue]:
    """A rule says what it matches and what it makes of it."""
    for path, rule in _rules(checked.body):
        yield from _match_issues(checked, f"{path}.match", rule["match"])
        yield from _action_issues(checked, f"{path}.action", rule["action"])


def _match_issues(checked: Checked, path: str, match: Body) -> Iterator[Issue]:
    for side in ("source_ip", "destination_ip"):
        if side in match and not any(match[side].get(name) for name in ADDRESS_LISTS):
            yield checked.error(
                f"{path}.{side}",
                f"no addresses given (one of {', '.join(ADDRESS_LISTS)}); to match any address leave {side} out",
            )
        if _only_v6(match.get(side, {})):
            yield checked.error(f"{path}.{side}", "IPv6 flows are not translated; give IPv4 addresses")
    services = match.get("services", {})
    for side in ("source_port", "destination_port"):
        if side in services and not services[side].get("ports"):
            yield checked.error(
                f"{path}.services.{side}", f"no ports given (ports NUMBER); to match any port leave {side} out"
            )
    protocol = services.get("protocol")
    if protocol and ("source_port" in services or "destination_port" in services) and not _has_ports(protocol):
        yield checked.error(
            f"{path}.services",
            "only TCP and UDP have ports; set the protocol to is_in protocol_tcp "
            "or is_in protocol_udp, or remove the ports",
        )


def _only_v6(match: Body) -> bool:
    """Whether only IPv6 flows could match."""
    given = [item for name in ("addrs", "prefixes", "ranges") for item in match.get(name, [])]
    listed = match.get("match_criteria") == "IS_IN" and not match.get("group_refs")
    return bool(given) and listed and all(map(_is_v6, given))


def _is_v6(item: Body) -> bool:
    """Whether an address, prefix or range is of IPv6."""
    return "V6" in (item.get("type"), item.get("ip_addr", {}).get("type"), item.get("begin", {}).get("type"))


def _has_ports(protocol: Body) -> bool:
    return protocol["match_criteria"] == "IS_NOT_IN" or protocol["protocol"] in WITH_PORTS


def _action_issues(checked: Checked, path: str, action: Body) -> Iterator[Issue]:
    if not action.get("nat_info"):
        yield checked.error(path, "nat_info is missing (nat_info, then nat_ip ADDRESS)")
    if action["type"] == "NAT_POLICY_ACTION_TYPE_DYNAMIC_IP_PRESERVE_PORT":
        yield checked.warning(f"{path}.type", "a source port that is free is kept, one that is taken is changed")
    for number, info in enumerate(action.get("nat_info", []), 1):
        yield from _nat_info_issues(checked, f"{path}.nat_info[{number}]", info)


def _nat_info_issues(checked: Checked, path: str, info: Body) -> Iterator[Issue]:
    if ("nat_ip" in info) == ("nat_ip_range" in info):
        yield checked.error(path, "give either nat_ip ADDRESS or nat_ip_range (begin, end), one of the two")
        return
    ends = _ends(info)
    if any(end["type"] == "V6" for end in ends):
        yield checked.error(path, "IPv6 flows are not translated; give an IPv4 address")
        return
    for end in ends:
        if end["addr"].startswith(ODD_ADDRESSES) or int(end["addr"].partition(".")[0]) >= 224:
            yield checked.error(path, f"{end['addr']} is no address a connection can come from")
    size = int(IPv4Address(ends[-1]["addr"])) - int(IPv4Address(ends[0]["addr"])) + 1
    if size > MAX_NAT_ADDRESSES:
        yield checked.error(path, f"nat_ip_range holds {size} addresses: at most {MAX_NAT_ADDRESSES}")


def _ends(info: Body) -> list[Body]:
    if "nat_ip" in info:
        return [info["nat_ip"]]
    return [info["nat_ip_range"]["begin"], info["nat_ip_range"]["end"]]


def nat_ip_not_interface_ip(checked: Checked) -> Iterator[Issue]:
    """An engine needs its own addresses for itself."""
    users = checked.config.referring(checked.body["uuid"], "networkservice")
    places = {checked.config.table("networkservice")[uuid]["vrf_ref"] for uuid in users}
    own = {
        port.address: f"{engine.name} {port.interface}"
        for engine in checked.engines
        for port in engine.ports
        if (ref_to(VRF, engine.vrf_uuid) in places if places else engine.vrf == GLOBAL_VRF)
    }
    for path, address in _nat_addresses(checked.body, own):
        yield checked.error(
            path,
            f"NAT IP {address} is the address of interface {own[address]}; use a VIP, or a free address of the network",
        )


def nat_ip_not_interface_ip_of_service(checked: Checked) -> Iterator[Issue]:
    """Nor can a floating address be one to translate to."""
    routing = checked.body.get("routing_service", {})
    policy = checked.config.target(routing.get("nat_policy_ref"))
    floating = {item["addr"] for _, item in _floating(checked.body) if item["type"] == "V4"}
    for path, address in _nat_addresses(policy or {}, floating):
        name = (policy or {})["name"]
        yield checked.error(
            "routing_service",
            f"{address} is a floating_intf_ip and also a NAT IP "
            f"(natpolicy {name} {path}); use a VIP or a free address there, or another one here",
        )


def nat_ip_not_interface_ip_in_vrf(checked: Checked) -> Iterator[Issue]:
    """A policy that was in no VRF yet may translate to what is an interface's address in this one."""
    policy = checked.config.target(checked.body.get("routing_service", {}).get("nat_policy_ref"))
    ports = {port.address: engine for engine in checked.engines_in(checked.body["vrf_ref"]) for port in engine.ports}
    for path, address in _nat_addresses(policy or {}, ports):
        yield checked.error(
            "routing_service.nat_policy_ref",
            f"{address} is an address of {ports[address].name} and also a NAT IP "
            f"(natpolicy {(policy or {})['name']} {path}); use a VIP or a free address there",
        )


def nat_ip_in_one_group(checked: Checked) -> Iterator[Issue]:
    """A NAT IP is answered by the engines of one group."""
    body, config = checked.body, checked.config
    mine = list(_nat_ranges(config.target(body.get("routing_service", {}).get("nat_policy_ref"))))
    for other in config.all("networkservice") if mine else ():
        if other["se_group_ref"] == body["se_group_ref"] or other["vrf_ref"] != body["vrf_ref"]:
            continue
        theirs = _nat_ranges(config.target(other.get("routing_service", {}).get("nat_policy_ref")))
        if any(one[0] <= two[1] and two[0] <= one[1] for two in theirs for one in mine):
            group = config.target(other["se_group_ref"]) or {"name": "?"}
            yield checked.error(
                "routing_service.nat_policy_ref",
                f"networkservice {other['name']} of serviceenginegroup {group['name']} translates to the same NAT IP; "
                "groups cannot share one, give each a policy with addresses of its own",
            )


def _nat_ranges(policy: Body | None) -> Iterator[tuple[int, int]]:
    """First and last of the IPv4 addresses that the rules translate to."""
    for _, rule in _rules(policy or {}):
        for info in rule["action"].get("nat_info", []):
            ends = _ends(info) if "nat_ip" in info or "nat_ip_range" in info else []
            if ends and all(end["type"] == "V4" for end in ends):
                yield int(IPv4Address(ends[0]["addr"])), int(IPv4Address(ends[-1]["addr"]))


def _nat_addresses(policy: Body, wanted: Any) -> Iterator[tuple[str, str]]:
    """(path, address) of those ``wanted`` addresses that the rules translate to."""
    for path, rule in _rules(policy):
        for number, info in enumerate(rule["action"].get("nat_info", []), 1):
            ends = _ends(info) if "nat_ip" in info or "nat_ip_range" in info else []
            if ends and all(end["type"] == "V4" for end in ends):
                low, high = IPv4Address(ends[0]["addr"]), IPv4Address(ends[-1]["addr"])
                place = f"{path}.action.nat_info[{number}]"
                yield from ((place, address) for address in wanted if low <= IPv4Address(address) <= high)


def _rules(policy: Body) -> Iterator[tuple[str, Body]]:
    for number, rule in enumerate(policy.get("rules", []), 1):
        yield f"rules[{number}]", rule


def nat_needs_routing(checked: Checked) -> Iterator[Issue]:
    """Only routed flows reach the NAT policy."""
    routing = checked.body.get("routing_service", {})
    if not routing.get("nat_policy_ref"):
        return
    if not routing.get("enable_routing"):
        yield checked.error(
            "routing_service.nat_policy_ref",
            "a NAT policy needs routing: set enable_routing here, or take the policy out (no nat_policy_ref)",
        )
    if routing.get("routing_by_linux_ipstack"):
        yield checked.error(
            "routing_service.nat_policy_ref",
            "a NAT policy does not go with routing_by_linux_ipstack; set no routing_by_linux_ipstack",
        )


def routing_needs_legacy_ha(checked: Checked) -> Iterator[Issue]:
    """Routing and floating addresses follow the one active engine."""
    routing = checked.body.get("routing_service", {})
    group = checked.config.target(checked.body["se_group_ref"])
    if group is None or group["ha_mode"] == LEGACY:
        return
    name, mode = group["name"], group["ha_mode"]
    for field in ("enable_routing", *FLOATING):
        if routing.get(field):
            yield checked.error(
                f"routing_service.{field}",
                f"needs the HA mode legacy active/standby, but serviceenginegroup {name} "
                f"has {mode} (configure serviceenginegroup {name}, ha_mode {LEGACY.lower()}; or remove {field} first)",
            )


def vmac_has_a_pair(checked: Checked) -> Iterator[Issue]:
    """A virtual MAC goes from one engine of a pair to the other, with their IPv4 addresses."""
    routing = checked.body.get("routing_service", {})
    group = checked.config.target(checked.body["se_group_ref"])
    if group is None or not routing.get("enable_vmac"):
        return
    path = "routing_service.enable_vmac"
    if group["ha_mode"] != LEGACY:
        yield checked.warning(
            path,
            f"takes no effect: serviceenginegroup {group['name']} has {group['ha_mode']}, and a virtual MAC is for two "
            f"engines (configure serviceenginegroup {group['name']}, ha_mode {LEGACY.lower()})",
        )
    elif any(item["type"] == "V6" for _, item in _floating(checked.body)):
        yield checked.warning(
            path,
            "is for IPv4: IPv6 addresses have the MAC of the active engine, and after a switchover the neighbours "
            "learn the new one by unsolicited advertisements",
        )


def auto_gateway_of_ipv4(checked: Checked) -> Iterator[Issue]:
    """Where the questions of IPv6 clients come from is not remembered."""
    routing = checked.body.get("routing_service", {})
    if routing.get("enable_auto_gateway") and any(item["type"] == "V6" for _, item in _floating(checked.body)):
        yield checked.warning(
            "routing_service.enable_auto_gateway",
            "is for IPv4: answers to IPv6 clients take the route (configure vrfcontext, static_routes)",
        )


def floating_ip_in_se_network(checked: Checked) -> Iterator[Issue]:
    """A floating address is reached through the network of an interface, and is nobody else's."""
    vrf = checked.body["vrf_ref"]
    group = [one for one in checked.engines_in(vrf) if one.group == uuid_in(checked.body["se_group_ref"])]
    seen: dict[str, str] = {}
    for path, item in _floating(checked.body):
        first = seen.setdefault(item["addr"], path)
        if first != path:
            yield checked.error(path, f"{item['addr']} is {first} already; remove one")
        else:
            yield from _floating_issues(checked, path, item, group)


def _floating(body: Body) -> Iterator[tuple[str, Body]]:
    """(path, address) of both sets."""
    for field in FLOATING:
        for number, item in enumerate(body.get("routing_service", {}).get(field, []), 1):
            yield f"routing_service.{field}[{number}]", item


def _floating_issues(checked: Checked, path: str, item: Body, group: list[Engine]) -> Iterator[Issue]:
    address, vrf = item["addr"], checked.body["vrf_ref"]
    holders = vsvips_in(checked.config, address, vrf)
    if checked.interface_of(address, vrf):
        yield checked.error(
            path,
            f"{address} is the address of interface {checked.interface_of(address, vrf)}; "
            "use a free address of that network",
        )
    elif holders:
        yield checked.error(path, f"{address} is a VIP (vsvip {holders[0]['name']}); use another one")
    elif not group:
        yield checked.warning(path, "its service engine group has no engines yet")
    elif not any(engine.interface_towards(address) for engine in group):
        networks = sorted({str(port.network) for engine in group for port in engine.ports})
        yield checked.error(
            path,
            f"{address} is in no network of the engines ({', '.join(networks)}); use a free address of one of them",
        )


def one_networkservice_per_group_and_vrf(checked: Checked) -> Iterator[Issue]:
    """Two would contradict each other."""
    place = (checked.body["se_group_ref"], checked.body["vrf_ref"])
    for kind, uuid in checked.config.referrers(uuid_in(checked.body["se_group_ref"])):
        other = checked.config.get(kind, uuid) if kind == "networkservice" else None
        if other and uuid != checked.body["uuid"] and (other["se_group_ref"], other["vrf_ref"]) == place:
            yield checked.error(
                "",
                f"networkservice {other['name']} has the same service engine group and VRF; "
                "change that one instead, or delete it first",
            )


def networkservice_in_vrf(checked: Checked) -> Iterator[Issue]:
    """It forwards where an engine of its group has interfaces."""
    yield from vrf_issues(checked, "vrf_ref", checked.body["se_group_ref"])


def vrf_issues(checked: Checked, path: str, group_ref: str | None) -> Iterator[Issue]:
    """What an engine group cannot do in the VRF that ``path`` names."""
    vrf, group = checked.config.target(checked.body.get(path)), checked.config.target(group_ref)
    members = [engine for engine in checked.engines if group is not None and engine.group == group["uuid"]]
    if vrf is None or group is None or not members:
        return
    there = {engine.name for engine in members if engine.vrf_uuid == vrf["uuid"]}
    lacking = sorted({engine.name for engine in members} - there)
    how = f"a topology gives it some: vrfs: {{{vrf['name']}: {{interfaces: ...}}}}"
    if not there:
        yield checked.warning(
            path,
            f"no service engine of serviceenginegroup {group['name']} has an interface in VRF {vrf['name']}: nothing "
            f"is forwarded there ({how})",
        )
    elif lacking and group["ha_mode"] == LEGACY:
        yield checked.warning(
            path, f"{lacking[0]} has no interface in VRF {vrf['name']}: it cannot take over there ({how})"
        )


def vrf_has_engines(checked: Checked) -> Iterator[Issue]:
    """A VRF is where interfaces are; that of the management network is nowhere here."""
    name = checked.body["name"]
    if name != MANAGEMENT_VRF and checked.engines and not checked.engines_in(ref_to(VRF, checked.body["uuid"])):
        yield checked.warning(
            "",
            f"no interface of a service engine is in VRF {name}: nothing is forwarded there until the topology gives "
            f"an engine some (vrfs: {{{name}: {{interfaces: ...}}}})",
        )


def static_routes_once(checked: Checked) -> Iterator[Issue]:
    """One way per destination, and a next hop that an engine can reach."""
    seen: dict[str, str] = {}
    engines = checked.engines_in(ref_to(VRF, checked.body["uuid"]))
    for number, route in enumerate(checked.body.get("static_routes", []), 1):
        path, hop = f"static_routes[{number}]", route["next_hop"]
        prefix = f"{route['prefix']['ip_addr']['addr']}/{route['prefix']['mask']}"
        if hop["type"] != route["prefix"]["ip_addr"]["type"]:
            yield checked.error(path, f"{prefix} and next_hop {hop['addr']} are not of one IP version")
        elif seen.setdefault(prefix, hop["addr"]) != hop["addr"]:
            yield checked.warning(path, f"{prefix} has a route already, over {seen[prefix]}; only that one is used")
        elif engines and not any(engine.interface_towards(hop["addr"]) for engine in engines):
            yield checked.warning(path, f"next_hop {hop['addr']} is in no network of any engine; the route is not used")


def routing_moved_to_networkservice(checked: Checked) -> Iterator[Issue]:
    """What old releases set on the group."""
    for field in (
        "enable_routing",
        "enable_vmac",
        "advertise_backend_networks",
        "floating_intf_ip",
        "floating_intf_ip_se_2",
    ):
        if checked.body.get(field):
            yield checked.warning(
                field,
                f"is kept without effect; set {field} in the routing_service of a "
                "networkservice (configure networkservice NAME)",
            )

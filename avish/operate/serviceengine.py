"""``show serviceengine <se> ...``: what its kernel holds at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from time import gmtime, strftime
from typing import Any

from avish.config.config import Body
from avish.config.ids import rule_key
from avish.operate.view import View, envelope
from dataplane.model import NAT_MARK, Row, nat_counters

VRF = "global"
ALL_BITS = 0xFFFFFFFF
TCP = 6
TRANSLATED = 0x30
"""IPS_SRC_NAT | IPS_DST_NAT: conntrack status of a flow whose addresses are rewritten."""
SEEN_REPLY = 0x2
TCP_STATES = {
    "SYN_SENT": "setup",
    "SYN_SENT2": "setup",
    "SYN_RECV": "setup",
    "ESTABLISHED": "established",
    "FIN_WAIT": "half_closed",
    "CLOSE_WAIT": "half_closed",
    "LAST_ACK": "closed",
    "TIME_WAIT": "closed",
    "CLOSE": "reset",
}


def summary(view: View, body: Body) -> dict[str, Any]:
    """State of the engine; also when it does not answer."""
    status = oper_status(view, body)
    seen = view.engines.get(body["name"])
    result = {"oper_status": status, "se_connected": bool(seen and not seen.fault())}
    if seen is not None:
        result["online_since" if status["state"] == "OPER_UP" else "offline_since"] = time_text(seen.since)
    if body in view.group(body.get("se_group_ref"))[:1]:
        result["active_tags"] = ["ACTIVE_STANDBY_SE_1"]
    return result


def oper_status(view: View, body: Body) -> dict[str, Any]:
    """OPER_UP when the agent answers and the engine holds what it should; else OPER_DOWN with the reason."""
    seen = view.engines.get(body["name"])
    if seen is None:
        return {"state": "OPER_DOWN", "reason": ["no engine of this name in the topology"]}
    reason = seen.fault() or ("" if seen.connected else seen.reason)
    return {"state": "OPER_DOWN", "reason": [reason]} if reason else {"state": "OPER_UP"}


def vshash(view: View, body: Body) -> dict[str, Any]:
    """The ports the kernel takes for virtual services, for each interface, as far as the VIP is on this engine."""
    seen = view.engine(body)
    rows = [row for row in seen.listeners() if row["ip"] in seen.present]
    vnics = [interface.index for interface in seen.driver.interfaces() if interface.up] if rows else []
    return envelope(body) | {"vshashone": [_vshash_row(view, row, vnic) for row in rows for vnic in vnics]}


def _vshash_row(view: View, row: Row, vnic: int) -> dict[str, Any]:
    return {
        "vsuuid": view.ids.key_of("service", row["service"]) or f"unknown ({row['service']})",
        "ip": row["ip"],
        "port": row["first"],
        "vs_stat_index": row["service"],
        "port_end": row["last"],
        "core": 0,
        "vnic_id": vnic,
        "prefix_length": 32,
        "proto": row["protocol"].upper(),
    }


def natpolicystat(view: View, body: Body) -> dict[str, Any]:
    """How often the rules of the NAT policies were tried and matched. Counts connections, not packets."""
    counters = view.engine(body).driver.counters()
    policies = {p["uuid"]: p for service in _networkservices(view, body) if (p := _nat_policy(view, service))}
    entries = [
        {"uuid": policy["uuid"], "name": policy["name"], "rule_stats": list(_rule_stats(view, policy, counters))}
        for policy in policies.values()
    ]
    return envelope(body) | {"nat_policy": entries}


def _rule_stats(view: View, policy: Body, counters: dict[str, tuple[int, int]]) -> Iterator[dict[str, Any]]:
    for rule in sorted(policy.get("rules", []), key=lambda rule: rule["index"]):
        number = view.ids.get("nat_rule", rule_key(policy["uuid"], rule["index"]))
        evaluated, hits = (counters.get(name) for name in nat_counters(number or 0))
        if evaluated is None or hits is None:
            continue  # not in the kernel
        yield {
            "index": rule["index"],
            "name": rule["name"],
            "hits": hits[0],
            "evaluated": evaluated[0],
            "action_hits": hits[0],
        }


def nat_flows(view: View, body: Body) -> dict[str, Any]:
    """Connections that a NAT rule translates."""
    rows = view.engine(body).driver.flows(NAT_MARK, NAT_MARK)
    return envelope(body) | {"natflow": [_flow(row) for row in rows]}


def route_flows(view: View, body: Body) -> dict[str, Any]:
    """Connections that are merely routed: no service, no NAT rule, not the engine's own."""
    seen = view.engine(body)
    rows = [row for row in seen.driver.flows(0, ALL_BITS) if _routed(row, seen.present)]
    return envelope(body) | {"routeflow": [_flow(row) for row in rows]}


def _routed(row: Row, own: set[str]) -> bool:
    ends = (row["src"], row["dst"])
    return not row["status"] & TRANSLATED and not any(end in own or end.startswith("127.") for end in ends)


def _flow(row: Row) -> dict[str, Any]:
    age, idle = row["age"], row["last_used"]
    if age is not None and idle is not None:
        idle = min(age, idle)  # the kernel rounds the one down, what is left of a timeout too
    return {
        "vrf_name": VRF,
        "protocol": row["protocol"],
        "original_flow": {"l_ip": row["src"], "l_port": row["sport"], "f_ip": row["dst"], "f_port": row["dport"]},
        "mapped_flow": {
            "l_ip": row["reply_dst"],
            "l_port": row["reply_dport"],
            "f_ip": row["reply_src"],
            "f_port": row["reply_sport"],
        },
        "state_name": _state(row),
        "age": _seconds(age),
        "last_used": _seconds(idle),
    }


def _state(row: Row) -> str:
    if row["protocol"] == TCP:
        return TCP_STATES.get(row["state"], str(row["state"]).lower() or "unknown")
    return "response" if row["status"] & SEEN_REPLY else "noresponse"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{int(value)} sec"


def network_service(view: View, body: Body) -> dict[str, Any]:
    """The network services of the engine's group, as they are in effect on this engine."""
    entries = [_network_service(view, body, service) for service in _networkservices(view, body)]
    return envelope(body) | {"network_service": entries}


def _network_service(view: View, body: Body, service: Body) -> dict[str, Any]:
    seen = view.engine(body)
    routing = service.get("routing_service") or {}
    floating = [ip["addr"] for ip in routing.get("floating_intf_ip", [])]
    policy = _nat_policy(view, service)
    effect: dict[str, Any] = {
        "enable_routing": bool(routing.get("enable_routing")),
        "ip_forwarding": seen.driver.forwarding(),
        "routing_by_linux_ipstack": bool(routing.get("routing_by_linux_ipstack")),
    }
    if policy is not None:
        effect["nat_policy_uuid"] = policy["uuid"]
    effect["floating_intf_ip"] = [ip for ip in floating if ip in seen.own_addresses()]
    return {
        "network_service_name": service["name"],
        "network_service_uuid": service["uuid"],
        "tenant_uuid": str(service.get("tenant_ref", "")).rpartition("/")[2],
        "vrf_name": view.name_of(service.get("vrf_ref")),
        "service_type": service.get("service_type"),
        "routing_service": effect,
    }


def _networkservices(view: View, body: Body) -> list[Body]:
    group = body.get("se_group_ref")
    return [service for service in view.config.all("networkservice") if service.get("se_group_ref") == group]


def _nat_policy(view: View, service: Body) -> Body | None:
    return view.config.target((service.get("routing_service") or {}).get("nat_policy_ref"))


def route(view: View, body: Body) -> dict[str, Any]:
    """The kernel's routes; flags as routing tables have them: U up, G by a gateway, H one host, S static."""
    rows = view.engine(body).driver.routes()
    return envelope(body) | {"route_entry": [_route_row(row) for row in rows]}


def _route_row(row: Row) -> dict[str, Any]:
    network = ip_network("0.0.0.0/0" if row["prefix"] in ("default", "") else row["prefix"])
    flags = "U" + ("G" if row["gateway"] else "") + ("H" if network.prefixlen == network.max_prefixlen else "")
    return {
        "destination": str(network.network_address),
        "gateway": row["gateway"] or "link",
        "netmask": str(network.netmask),
        "interface": row["interface"],
        "rt_flags": flags + ("" if row["protocol"] == "kernel" else "S"),
        "ifa_ip": row["source"] or "",
        "vrf_id": 0,
    }


def arptable(view: View, body: Body) -> dict[str, Any]:
    """The neighbours whose hardware address the kernel knows or asks for."""
    rows = view.engine(body).driver.neighbours()
    return envelope(body) | {"arp_entry": [_arp_row(row) for row in rows]}


def _arp_row(row: Row) -> dict[str, Any]:
    return {
        "vnic_name": row["interface"],
        "ip_address": row["ip"],
        "mac_address": row["mac"] or "incomplete",
        "vrf_id": 0,
        "state": row["state"],
    }


def interface_summary(view: View, body: Body) -> dict[str, Any]:
    """The interfaces with all their addresses."""
    entries = []
    for interface in view.engine(body).driver.interfaces():
        addresses = [ip_interface(text) for text in interface.addresses]
        entries.append(
            {
                "intf_name": interface.name,
                "mac_address": interface.mac,
                "ip_info": [{"ip_addr": str(one.ip), "net_mask": str(one.netmask)} for one in addresses],
                "intf_state": "UP" if interface.up else "DOWN",
                "owner_core": 0,
                "linux_intf_name": interface.name,
                "vrf_name": VRF,
            }
        )
    return envelope(body) | {"interface_entries": entries}


def time_text(seconds: float) -> str:
    """``2026-02-03 04:05:06 UTC``."""
    return strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(seconds))

"""``show serviceengine <se> ...``: what its kernel holds at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avish.compile.pairs import TAGS
from avish.config.config import Body
from avish.config.ids import rule_key
from avish.config.wellknown import GLOBAL_VRF
from avish.errors import UnavailableError
from avish.operate.counts import Count
from avish.operate.health import down, up
from avish.operate.view import Seen, View, envelope, time_text
from dataplane.model import Row, nat_counters


def summary(view: View, body: Body) -> dict[str, Any]:
    """State of the engine; also when it does not answer."""
    status = oper_status(view, body)
    seen = view.engines.get(body["name"])
    places = view.places(body)
    result = {"oper_status": status, "se_connected": bool(places) and not any(one.fault() for one in places)}
    if seen is not None:
        result["online_since" if status["state"] == "OPER_UP" else "offline_since"] = time_text(seen.since)
    tags = [tag for tag, pair in TAGS.items() if _carries(view, body, pair)]
    return result | ({"active_tags": tags} if tags else {}) | _pair_status(places)


def _carries(view: View, body: Body, pair: int) -> bool:
    """Whether the engine is the active one for a tag; outside of a pair the first of a group is."""
    seen = view.engines.get(body["name"])
    if seen is not None and seen.desired.pairs:
        return seen.leads(pair)
    return pair == 1 and body in view.group(body.get("se_group_ref"))[:1]


def _lets_pass(seen: Seen) -> bool:
    """The kernel of the standby engine of a pair passes nothing on."""
    return not seen.desired.pairs or any(seen.leads(pair) for pair in seen.desired.pairs)


def _pair_status(places: list[Seen]) -> dict[str, Any]:
    """What the engine says of itself and its peer, in each VRF."""
    rows = [row for seen in places for row in seen.roles.values()]
    if not rows:
        return {}
    pairs = [
        ({"vrf_name": seen.vrf} if len(places) > 1 else {})
        | {"active_tag": tag, "role": seen.roles[pair]["role"].upper(), "since": time_text(seen.roles[pair]["since"])}
        | ({"reason": seen.roles[pair]["reason"]} if seen.roles[pair]["reason"] else {})
        for seen in places
        for tag, pair in TAGS.items()
        if pair in seen.roles
    ]
    return {
        "gateway_up": all(gateway["up"] for row in rows for gateway in row["gateways"]),
        "hb_status": {"peer_alive": all(any(row["peer_alive"] for row in seen.roles.values()) for seen in places)},
        "connection_mirror": any(row["mirror"] for row in rows),
        "pair": pairs,
    }


def reboot(view: View, body: Body) -> dict[str, Any]:
    """Its agents end and are started again; the answer comes when they are in step."""
    places = view.places(body)
    if not places:
        raise UnavailableError(f"no engine {body['name']} runs here: it is not in the topology of this controller")
    found = [seen.restart() for seen in places]
    return {"name": body["name"], "status": next((one for one in found if one != "connected"), "connected")}


def detail(view: View, body: Body) -> dict[str, Any]:
    """The summary, the machine behind the engine, its interfaces, and how often it came and went."""
    known, memory = summary(view, body), view.engine(body).driver.facts("memory")
    vnics = [
        {
            "mac_addr": link["mac"],
            "if_name": link["name"],
            "mtu": link["mtu"],
            "vnic_networks": [
                {"ip": f"{row['ip']}/{row['prefixlen']}", "mode": "VIP" if row["own"] else "STATIC"}
                for row in seen.addresses()
                if row["interface"] == link["name"]
            ],
            "is_mgmt": False,
            "state": "VNIC_STATE_UP" if link["up"] and link["running"] else "VNIC_STATE_DOWN",
            "present_in_se": True,
            **({} if seen.vrf == GLOBAL_VRF else {"vrf_name": seen.vrf}),
        }
        for seen in view.places(body)
        for link in seen.driver.facts("links")
    ]
    resources = {"num_cores": memory["processors"], "memory": memory["total_kb"] // 1024}
    rest = {name: value for name, value in known.items() if name != "oper_status"}
    return {"name": body["name"], "resources": resources, "vnic": vnics, "oper_status": known["oper_status"], **rest}


def oper_status(view: View, body: Body) -> dict[str, Any]:
    """OPER_UP when its agents answer and it holds what it should in all VRFs; else OPER_DOWN with the reasons."""
    places = view.places(body)
    if not places:
        return {"state": "OPER_DOWN", "reason": ["no engine of this name in the topology"]}
    reasons = [_prefixed(seen, reason) for seen in places if (reason := _reason(seen))]
    if reasons:
        lost = [seen.since for seen in places if not seen.connected]
        return down(max(lost, default=None), *reasons)
    return up(max(seen.since for seen in places))


def _reason(seen: Seen) -> str:
    return seen.fault() or ("" if seen.connected else seen.reason)


def _prefixed(seen: Seen, reason: str) -> str:
    return reason if seen.vrf == GLOBAL_VRF else f"VRF {seen.vrf}: {reason}"


def vshash(view: View, body: Body) -> dict[str, Any]:
    """The ports the kernel takes for virtual services, for each interface, as far as the VIP is on this engine."""
    seen = view.engine(body)
    rows = [row for row in seen.listeners() if row["ip"] in seen.answering]
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
    """How often the rules of the NAT policies were tried and matched, in all VRFs. Counts connections, not packets."""
    view.engine(body)
    counters: dict[str, tuple[int, int]] = {}
    policies: dict[str, Body] = {}
    for seen in view.places(body):
        for name, (packets, size) in seen.driver.counters().items():
            before = counters.get(name, (0, 0))
            counters[name] = before[0] + packets, before[1] + size
        found = (_nat_policy(view, service) for service in _networkservices(view.within(seen.vrf), body))
        policies |= {policy["uuid"]: policy for policy in found if policy}
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
            "hits": Count(hits[0]),
            "evaluated": Count(evaluated[0]),
            "action_hits": Count(hits[0]),
        }


def network_service(view: View, body: Body) -> dict[str, Any]:
    """The network services of the engine's group, as they are in effect on this engine."""
    entries = [_network_service(view, body, service) for service in _networkservices(view, body)]
    return envelope(body) | {"network_service": entries}


def _network_service(view: View, body: Body, service: Body) -> dict[str, Any]:
    seen = view.engine(body)
    routing = service.get("routing_service") or {}
    policy = _nat_policy(view, service)
    effect: dict[str, Any] = {
        "enable_routing": bool(routing.get("enable_routing")),
        "ip_forwarding": seen.driver.forwarding() and _lets_pass(seen),
        "routing_by_linux_ipstack": bool(routing.get("routing_by_linux_ipstack")),
    }
    if policy is not None:
        effect["nat_policy_uuid"] = policy["uuid"]
    for field in ("floating_intf_ip", "floating_intf_ip_se_2"):
        addresses = [ip["addr"] for ip in routing.get(field, [])]
        if addresses or field == "floating_intf_ip":
            effect[field] = [ip for ip in addresses if ip in seen.own_addresses()]
    virtual = [row["vmac"] for row in seen.roles.values() if row["vmac"]]
    effect |= {"enable_vmac": bool(virtual)} | ({"vmac": virtual} if virtual else {})
    effect["enable_auto_gateway"] = bool(seen.desired.switches.get("auto_gateway"))
    return {
        "network_service_name": service["name"],
        "network_service_uuid": service["uuid"],
        "tenant_uuid": str(service.get("tenant_ref", "")).rpartition("/")[2],
        "vrf_name": view.name_of(service.get("vrf_ref")),
        "service_type": service.get("service_type"),
        "routing_service": effect,
    }


def _networkservices(view: View, body: Body) -> list[Body]:
    """Those of the engine's group in the VRF that is looked at."""
    services = [one for one in view.config.all("networkservice") if one.get("se_group_ref") == body.get("se_group_ref")]
    return [one for one in services if view.name_of(one.get("vrf_ref")) == view.vrf]


def _nat_policy(view: View, service: Body) -> Body | None:
    return view.config.target((service.get("routing_service") or {}).get("nat_policy_ref"))

"""``show virtualservice <vs> detail, tcpstat, udpstat, connections, client, placement, internal``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from avish.compile.limits import service_limits
from avish.config.config import Body
from avish.errors import ValidationError
from avish.operate import filters
from avish.operate.counts import Count
from avish.operate.flows import ALL_BITS, TCP, UDP, connections_of
from avish.operate.listing import Listing
from avish.operate.traffic import OPEN, Traffic, l4_stats, of_service, summed
from avish.operate.view import View, configured, envelope
from avish.operate.virtualservice import summary
from dataplane.model import FlowMatch, Rate, over_counter, security_counter, service_counter


def carriers(view: View, body: Body) -> list[Body]:
    """The engines of a service that the filters leave, and that answer; the active one first."""
    members = view.group(body.get("se_group_ref"))
    wanted = [one for number, one in enumerate(members) if filters.engine_wanted(view.query, one, primary=number == 0)]
    return [one for one in wanted if (seen := view.engines.get(one["name"])) is not None and not seen.fault()]


def mark_of(view: View, body: Body) -> int:
    """The number of a service, 0 when the kernel never held it."""
    return view.ids.get("service", body["uuid"]) or 0


def _match(view: View, protocol: int = 0) -> FlowMatch:
    port = filters.number(view.query, "service_port")
    return FlowMatch(protocol=protocol, dport=(port, port) if port else (0, filters.LAST_PORT))


def _blocks(view: View, body: Body, protocol: int = 0) -> Iterator[tuple[dict[str, Any], Traffic, list[Body]]]:
    """What stands before the figures of a block, and the figures: one for each engine, or all in one."""
    members, mark = carriers(view, body), mark_of(view, body)
    found = [(one, of_service(view, one, mark, _match(view, protocol)) if mark else Traffic()) for one in members]
    if filters.per_engine(view.query):
        for one, traffic in found:
            yield envelope(one), traffic, [one]
    else:
        yield {}, summed(traffic for _, traffic in found), members


def _answer(blocks: list[dict[str, Any]]) -> Any:
    return blocks[0] if len(blocks) == 1 else blocks


def detail(view: View, body: Body) -> Any:
    """The summary, and what the service has carried."""
    known = summary(view, body)
    blocks = [
        {**head, **known, "fel4stats": [_front(view, body, traffic, members)], "uuid": body["uuid"]}
        for head, traffic, members in _blocks(view, body)
    ]
    return _answer(blocks)


def _front(view: View, body: Body, traffic: Traffic, members: list[Body]) -> dict[str, Any]:
    """What clients have had, and what limits and policies have kept from them."""
    mark = mark_of(view, body)
    return {
        **l4_stats(traffic, _taken(view, body, members)),
        "policy_drops": _policy_drops(view, body, members),
        "connection_dropped_user_limit": _count(view, members, over_counter(mark, "connections")),
        "dos_conn_rl_drop": _count(view, members, over_counter(mark, "rate")),
        "dos_conn_ip_rl_drop": _count(view, members, over_counter(mark, "client_rate")),
    }


def _count(view: View, members: list[Body], name: str) -> Count:
    """A counter of the kernel, of several engines together; 0 where it is not kept."""
    return Count(sum(view.engine(one).counted(name).get(name, (0, 0))[0] for one in members))


def _taken(view: View, body: Body, members: list[Body]) -> int | None:
    """Connections by the kernel's own counter; None when a filter asks for a part of them."""
    if filters.number(view.query, "service_port"):
        return None
    return _count(view, members, service_counter(mark_of(view, body)))


def tcpstat(view: View, body: Body) -> Any:
    """TCP of a service. The engine forwards, it ends no connection: clients and servers have the same figures."""
    return _answer([{**head, **_tcp(traffic)} for head, traffic, _ in _blocks(view, body, TCP)])


def _tcp(found: Traffic) -> dict[str, Any]:
    setup = found.phases.get("setup", 0) + found.endings.get("setup", 0)
    return {
        "connection_stats": {
            "connections_initiated": Count(found.total),
            "connections_accepted": Count(found.total),
            "connections_established": Count(found.total - setup),
            "connections_closed": Count(found.ended),
        },
        "rx_stats": {
            "total_packets_received": Count(found.packets),
            "total_bytes_received": Count(found.bytes),
        },
        "tx_stats": {
            "total_packets_sent": Count(found.reply_packets),
            "total_bytes_sent": Count(found.reply_bytes),
        },
        "connections_dropped": {
            "connections_dropped_before_established": Count(found.endings.get("setup", 0)),
            "connections_reset": Count(found.endings.get("reset", 0)),
        },
        "open_connections": {name: found.phases.get(name, 0) for name in OPEN},
    }


def udpstat(view: View, body: Body) -> Any:
    """UDP of a service."""
    return _answer([{**head, **_udp(traffic)} for head, traffic, _ in _blocks(view, body, UDP)])


def _udp(found: Traffic) -> dict[str, Any]:
    return {
        "udps_timedout_conns": Count(found.ended),
        "udps_rxpkts": Count(found.packets),
        "udps_rxbytes": Count(found.bytes),
        "udps_txpkts": Count(found.reply_packets),
        "udps_txbytes": Count(found.reply_bytes),
        "udps_started_conns": Count(found.total),
        "udps_open_conns": found.open,
    }


def connections(view: View, body: Body) -> Listing:
    """Both sides of each open connection; filters conn_type, ip_addr with ip_mask, port."""
    members, mark = carriers(view, body), mark_of(view, body)
    kinds = {"tcp": TCP, "udp": UDP}
    match = replace(filters.flow_match(view.query), protocol=kinds.get(view.query.get("conn_type", "").lower(), 0))
    rows = chain.from_iterable(connections_of(view, one, mark, match) for one in members) if mark else iter(())
    head = envelope(members[0]) if len(members) == 1 else {"uuid": body["uuid"]}
    return Listing(head, "connection", rows)


def clients(view: View, body: Body) -> dict[str, Any]:
    """The clients with open connections, the busiest first."""
    found: dict[str, Traffic] = {}
    mark = mark_of(view, body)
    for member in carriers(view, body) if mark else ():
        for row in view.engine(member).driver.flows(mark, ALL_BITS):
            found.setdefault(row["src"], Traffic()).add_open(row)
    entries = [
        {"client_ip": ip, "open_conns": one.open, "rx_bytes": one.bytes, "tx_bytes": one.reply_bytes}
        for ip, one in sorted(found.items(), key=lambda item: (-item[1].open, item[0]))
    ]
    return {"uuid": body["uuid"], "client_entry": entries}


def policy_stats(view: View, body: Body) -> Any:
    """How many connections each rule of the network security policy decided; of one that limits, acted: dropped.

    The kernel does not count how many were compared with a rule, so ``evaluated`` is left out.
    """
    policy = view.config.target(body.get("network_security_policy_ref"))
    if policy is None:
        raise ValidationError(f"{body['name']} has no network_security_policy_ref: there are no rules", status=404)
    mark = mark_of(view, body)
    members = carriers(view, body)
    known = {"uuid": policy["uuid"], "name": policy["name"]}
    if filters.per_engine(view.query):
        return [{**envelope(one), **known, "rule_stats": _decided(view, [one], policy, mark)} for one in members]
    return {**known, "rule_stats": _decided(view, members, policy, mark)}


def _decided(view: View, members: list[Body], policy: Body, mark: int) -> list[dict[str, Any]]:
    rows = []
    rules = sorted(policy.get("rules", []), key=lambda rule: rule["index"])
    names = [security_counter(mark, rule["index"]) for rule in rules]
    counts = [view.engine(one).counted(*names) for one in members]
    for rule, name in zip(rules, names, strict=True):
        found = [counted[name][0] for counted in counts if name in counted]
        if found:
            hits = Count(sum(found))
            limits = str(rule.get("action", "")).endswith("_RATE_LIMIT")
            acted = _count(view, members, over_counter(mark, f"rule_{rule['index']}")) if limits else hits
            rows.append({"index": rule["index"], "name": rule.get("name", ""), "hits": hits, "action_hits": acted})
    return rows


def policy_detail(view: View, body: Body) -> dict[str, Any]:
    """The policy as it is configured, and what each of its rules decided."""
    stats = policy_stats(replace(view, query={**view.query, "disable_aggregate": ""}), body)
    policy = view.config.target(body.get("network_security_policy_ref")) or {}
    return {"policy": configured(view, policy), "rule_stats": stats["rule_stats"]}


def dosstat(view: View, body: Body) -> Any:
    """Connections that rules of the security policy and limits on rates did not let pass."""
    members = carriers(view, body)
    groups = [[one] for one in members] if filters.per_engine(view.query) else [members]
    limits, mark = service_limits(view.config, body), mark_of(view, body)
    blocks = []
    for group in groups:
        head = envelope(group[0]) if len(group) == 1 else {"uuid": body["uuid"]}
        found = _beyond("conn_rl", limits.rate, _count(view, group, over_counter(mark, "rate")))
        found |= _beyond("conn_ip_rl", limits.client_rate, _count(view, group, over_counter(mark, "client_rate")))
        blocks.append({**head, **found, "policy_drops": _policy_drops(view, body, group)})
    return _answer(blocks)


def _beyond(name: str, rate: Rate | None, count: Count) -> dict[str, Count]:
    """What was above a limit, by what is done with it; nothing without a limit."""
    return {} if rate is None else {f"{name}_action_{'resets' if rate.reset else 'drops'}": count}


def _policy_drops(view: View, body: Body, members: list[Body]) -> Count:
    """What rules denied, and what was above the rate of those that limit."""
    policy = view.config.target(body.get("network_security_policy_ref")) or {}
    kinds = ("_DENY", "_RATE_LIMIT")
    dropping = {one["index"] for one in policy.get("rules", []) if str(one.get("action", "")).endswith(kinds)}
    rows = _decided(view, members, policy, mark_of(view, body))
    return Count(sum(row["action_hits"] for row in rows if row["index"] in dropping))


def client_summary(view: View, body: Body) -> dict[str, Any]:
    """How many clients have open connections."""
    return {"uuid": body["uuid"], "num_client_objs": len(clients(view, body)["client_entry"])}


def placement(view: View, body: Body) -> dict[str, Any]:
    """The engines of the service's group, and where each has, or would have, the addresses of the service."""
    members = view.group(body.get("se_group_ref"))
    addresses = [vip["ip_address"]["addr"] for vip in _vips(view, body) if vip.get("ip_address")]
    entries = [_placed(view, one, addresses, primary=number == 0) for number, one in enumerate(members)]
    return {"uuid": body["uuid"], "se_group": view.name_of(body.get("se_group_ref")), "service_engine": entries}


def _vips(view: View, body: Body) -> list[Body]:
    return list((view.config.target(body.get("vsvip_ref")) or {}).get("vip", []))


def _placed(view: View, member: Body, addresses: list[str], *, primary: bool) -> dict[str, Any]:
    seen = view.engines.get(member["name"])
    answers = seen is not None and not seen.fault()
    rows = seen.addresses() if seen is not None and answers else []
    held = [{"ip": row["ip"], "interface": row["interface"]} for row in rows if row["ip"] in addresses]
    return {"name": member["name"], "primary": primary, "standby": not primary, "connected": answers, "vip": held}


def internal(view: View, body: Body) -> dict[str, Any]:
    """How the service stands in the kernel: its number, which is the mark of its connections, ports and slots."""
    mark = mark_of(view, body)
    entries = []
    for member in carriers(view, body):
        seen = view.engine(member)
        service = seen.desired.services.get(mark)
        held = sorted(seen.held.get(mark, ()))
        entries.append(
            {
                **envelope(member),
                "listener": [{"ip": ip, "protocol": kind, "port": a, "port_end": b} for ip, kind, a, b in held],
                "picker": service.picker if service else "none",
                "slots": len(service.slots) if service else 0,
                "source_nat": bool(service and service.snat),
                "connections": _count(view, [member], service_counter(mark)),
            }
        )
    return {"uuid": body["uuid"], "name": body["name"], "vs_stat_index": mark, "service_engine": entries}

"""Connections of an engine: as NAT rules, routing and services see them. The kernel selects them by mark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from avish.config.config import Body
from avish.operate import filters
from avish.operate.counts import Count
from avish.operate.listing import Listing
from avish.operate.view import View, envelope
from dataplane.model import NAT_MARK, FlowMatch, Row

ALL_BITS = 0xFFFFFFFF
TCP, UDP = 6, 17
ICMP = (1, 58)
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
ENDINGS = {"REPLIED": "response", "UNREPLIED": "noresponse"}
PHASES = ("setup", "established", "half_closed", "closed", "reset", "noresponse", "response")
SOCKET_STATES = {
    "ESTABLISHED": 1, "SYN_SENT": 2, "SYN_SENT2": 2, "SYN_RECV": 3, "FIN_WAIT": 4, "TIME_WAIT": 6, "CLOSE": 7,
    "CLOSE_WAIT": 8, "LAST_ACK": 9,
}  # fmt: skip
"""The state of a connection as the kernel numbers those of sockets: one numbering for both."""


def nat_flows(view: View, body: Body) -> Listing:
    """Connections that a NAT rule translates."""
    rows = view.engine(body).driver.flows(NAT_MARK, NAT_MARK, filters.flow_match(view.query))
    return Listing(envelope(body), "natflow", (_flow(view, row) for row in rows))


def route_flows(view: View, body: Body) -> Listing:
    """Connections that are merely routed: no service, no NAT rule, not the engine's own."""
    seen = view.engine(body)
    rows = seen.driver.flows(0, ALL_BITS, filters.flow_match(view.query))
    return Listing(envelope(body), "routeflow", (_flow(view, row) for row in rows if routed(row, seen.present)))


def routed(row: Row, own: set[str]) -> bool:
    """Whether a flow without a mark only passes through."""
    ends = (row["src"], row["dst"])
    return not row["status"] & TRANSLATED and not any(end in own or end.startswith("127.") for end in ends)


def _flow(view: View, row: Row) -> dict[str, Any]:
    age, idle = row["age"], row["last_used"]
    if age is not None and idle is not None:
        idle = min(age, idle)  # the kernel rounds the one down, what is left of a timeout too
    return {
        "vrf_name": view.vrf,
        "protocol": row["protocol"],
        "original_flow": {"l_ip": row["src"], "l_port": row["sport"], "f_ip": row["dst"], "f_port": row["dport"]},
        "mapped_flow": {
            "l_ip": row["reply_dst"],
            "l_port": row["reply_dport"],
            "f_ip": row["reply_src"],
            "f_port": row["reply_sport"],
        },
        "state_name": phase(row),
        "age": seconds(age),
        "last_used": seconds(idle),
    }


def phase(row: Row) -> str:
    """The state of a flow in the words of the NAT counters."""
    if row["protocol"] == TCP:
        return TCP_STATES.get(row["state"], str(row["state"]).lower() or "unknown")
    return "response" if row["status"] & SEEN_REPLY else "noresponse"


def seconds(value: float | None) -> str:
    """``12 sec``."""
    return "unknown" if value is None else f"{int(value)} sec"


# --- flowtable: the connections of services, by the interface their client is behind


def flowtable(view: View, body: Body) -> Listing:
    """Connections that services took: the client's side of each; filters as of the original."""
    seen = view.engine(body)
    way = _ways(view, body)
    rows = seen.driver.flows(0, NAT_MARK, filters.flow_match(view.query))
    macs = {one.name: one.mac for one in seen.driver.interfaces()}
    filters.check_interface(view.query, macs)
    return Listing(envelope(body), "flow_entries", _entries(view, rows, way, macs))


def _entries(view: View, rows: Iterator[Row], way: Callable[[str], str], macs: dict[str, str]) -> Iterator[Any]:
    for row in rows:
        if not row["mark"]:
            continue
        name = way(row["src"])
        if not filters.interface_wanted(view.query, name, macs.get(name, "")):
            continue
        yield {
            "vnic": name,
            "mac": macs.get(name, ""),
            "src_ip": row["src"],
            "dst_ip": row["dst"],
            "src_port": row["sport"],
            "dst_port": row["dport"],
            "is_local": True,
            "dst_core": 0,
            "tcp_state": SOCKET_STATES.get(row["state"], 0),
            "vs_stat_index": row["mark"],
            "list_insertion_time": seconds(row["age"]),
            "protocol": row["protocol"],
        }


def _ways(view: View, body: Body) -> Callable[[str], str]:
    """By address, the interface the kernel's routes lead to; the longest prefix wins."""
    routes = [
        (ip_network("0.0.0.0/0" if row["prefix"] in ("default", "") else row["prefix"]), row["interface"])
        for row in view.engine(body).driver.routes()
    ]
    routes.sort(key=lambda route: -route[0].prefixlen)
    known: dict[str, str] = {}

    def way(ip: str) -> str:
        if ip not in known:
            address = ip_address(ip)
            known[ip] = next((name for network, name in routes if address in network), "")
        return known[ip]

    return way


# --- sums


def natstat(view: View, body: Body) -> dict[str, Any]:
    """Flows of NAT rules in sum, by protocol: open ones from the table, finished ones as the agent saw them end."""
    return _sums(view, body, lambda total: bool(total["mark"] & NAT_MARK), lambda _: True, (NAT_MARK, NAT_MARK))


def routestat(view: View, body: Body) -> dict[str, Any]:
    """The same for flows that are merely routed."""
    own = view.engine(body).present
    return _sums(view, body, _passed, lambda row: routed(row, own), (0, ALL_BITS))


def _passed(total: Row) -> bool:
    """Whether ended connections only passed through; an agent of before did not tell."""
    return not total["mark"] and not total.get("own", False)


def _sums(
    view: View, body: Body, mine: Callable[[Row], bool], wanted: Callable[[Row], bool], select: tuple[int, int]
) -> dict[str, Any]:
    seen = view.engine(body)
    groups = {"tcpstats": (TCP,), "udpstats": (UDP,), "icmpstats": ICMP}
    open_rows = [row for row in seen.driver.flows(*select) if wanted(row)]
    ended = [row for row in seen.driver.facts("finished")["totals"] if mine(row)]
    return envelope(body) | {
        name: _sum(
            [row for row in open_rows if row["protocol"] in numbers], [e for e in ended if e["protocol"] in numbers]
        )
        for name, numbers in groups.items()
    }


def _sum(open_rows: list[Row], ended: list[Row]) -> dict[str, Any]:
    both = [*open_rows, *ended]
    phases = [phase(row) for row in open_rows]
    last: dict[str, int] = {}
    for total in ended:
        for state, number in total["states"].items():
            name = ENDINGS.get(state) or TCP_STATES.get(state, "closed")
            last[name] = last.get(name, 0) + number
    result: dict[str, Any] = {
        "num_flows": Count(len(open_rows) + sum(row["flows"] for row in ended)),
        "num_rx_pkts": Count(sum(row["packets"] for row in both)),
        "num_rx_bytes": Count(sum(row["bytes"] for row in both)),
        "num_tx_pkts": Count(sum(row["reply_packets"] for row in both)),
        "num_tx_bytes": Count(sum(row["reply_bytes"] for row in both)),
    }
    result |= {f"num_flows_in_{name}": phases.count(name) for name in PHASES if name in phases}
    return result | {f"num_flows_finished_in_{name}": Count(last[name]) for name in PHASES if name in last}


def flowtablestat(view: View, body: Body) -> dict[str, Any]:
    """The connection table of the engine, and what each interface has counted."""
    seen = view.engine(body)
    table, links = seen.driver.facts("connections"), seen.driver.facts("links")
    filters.check_interface(view.query, (link["name"] for link in links))
    rows = [
        {
            "intf_name": link["name"],
            "mac": link["mac"],
            "vnic_id": link["index"],
            "flow_mac_errors": Count(link["statistics"].get("rx_errors", 0)),
        }
        for link in links
        if filters.interface_wanted(view.query, link["name"], link["mac"])
    ]
    whole = {
        "flow_rx_lookup_hit": Count(table["found"]),
        "flow_rx_create": Count(table["insert"]),
        "flow_rx_lookup_miss_drop": Count(table["drop"]),
        "flow_parse_errors": Count(table["invalid"] + table["error"]),
        "flow_aged_delete": Count(table["early_drop"]),
        "flow_conn_throttled_num_flows": Count(table["insert_failed"]),
        "flow_table_num_entries": table["entries"],
        "flow_table_max_entries": table["max"],
    }
    return envelope(body) | {"flow_table": whole, "dispatch": rows}


# --- a service's connections


def connections_of(view: View, member: Body, mark: int, match: FlowMatch) -> Iterator[dict[str, Any]]:
    """Both sides of each connection of a service."""
    for row in view.engine(member).driver.flows(mark, ALL_BITS, match):
        yield {
            "client_src_ip": row["src"],
            "client_src_port": row["sport"],
            "client_dst_ip": row["dst"],
            "client_dst_port": row["dport"],
            "server_src_ip": row["reply_dst"],
            "server_src_port": row["reply_dport"],
            "server_dst_ip": row["reply_src"],
            "server_dst_port": row["reply_sport"],
            "client_vrf_id": view.vrf_id,
            "server_vrf_id": view.vrf_id,
            "protocol": row["protocol"],
            "state_name": phase(row),
            "age": seconds(row["age"]),
        }


def tcp_flows(view: View, body: Body) -> Listing:
    """TCP connections of services (the client's end), then the engine's own sockets; ``listening_ports``: those too."""
    seen = view.engine(body)
    match = filters.flow_match({**view.query, "protocol_str": "tcp"})
    return Listing(envelope(body), "connection", _tcp_rows(view, seen.driver.flows(0, NAT_MARK, match), body))


def _tcp_rows(view: View, rows: Iterator[Row], body: Body) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["mark"]:
            number = SOCKET_STATES.get(row["state"], 0)
            ends = (row["dst"], row["src"], row["dport"], row["sport"])
            yield _ends(view, ends, number, row["state"] or "NONE")
    wanted = filters.network(view.query, "ip_addr", "ip_mask")
    port = filters.number(view.query, "port")
    for one in view.engine(body).driver.facts("sockets"):
        listening = one["state_name"] == "LISTEN"
        if listening and not filters.flag(view.query, "listening_ports"):
            continue
        if wanted and not _in((one["ip"], one["peer"]), wanted):
            continue
        if port in (0, one["port"], one["peer_port"]):
            ends = (one["ip"], one["peer"], one["port"], one["peer_port"])
            yield _ends(view, ends, one["state"], one["state_name"])


def _in(ends: tuple[str, str], wanted: str) -> bool:
    network = ip_network(wanted)
    return any(ip_address(end) in network for end in ends)


def _ends(view: View, ends: tuple[str, str, int, int], number: int, state: str) -> dict[str, Any]:
    names = ("l_ip", "f_ip", "l_port", "f_port")
    return dict(zip(names, ends, strict=True)) | {"tcp_state": number, "tcp_state_name": state, "vrf_id": view.vrf_id}


def tcp_flows_detail(view: View, body: Body) -> Listing:
    """The engine's own TCP sockets with what the kernel knows of each; connections of services have no socket."""
    port = filters.number(view.query, "port")
    wanted = filters.network(view.query, "ip_addr", "ip_mask")
    rows = (
        {
            "l_ip": one["ip"],
            "f_ip": one["peer"],
            "l_port": one["port"],
            "f_port": one["peer_port"],
            "socket_info": {"so_state": one["state"], "so_rcv": one["rx_queue"], "so_snd": one["tx_queue"]},
            "tcpcb_info": dict(one["words"]),
        }
        for one in view.engine(body).driver.facts("socket_details")
        if port in (0, _number(one["port"]), _number(one["peer_port"]))
        and (not wanted or _literal(one["ip"]) == wanted or _literal(one["peer"]) == wanted)
    )
    return Listing(envelope(body), "conn_detail", rows)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _literal(text: str) -> str:
    return text.strip("[]").partition("%")[0]

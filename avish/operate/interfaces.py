"""Interfaces, addresses, routes and neighbours of a service engine, as its kernel has them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface, ip_network
from typing import Any

from avish.config.config import Body
from avish.operate import filters
from avish.operate.counts import counted
from avish.operate.view import View, envelope
from dataplane.model import Interface, Row

STATISTICS = {
    "ipackets": "rx_packets",
    "ibytes": "rx_bytes",
    "ierrors": "rx_errors",
    "rx_nombuf": "rx_dropped",
    "opackets": "tx_packets",
    "obytes": "tx_bytes",
    "oerrors": "tx_errors",
    "tx_dropped": "tx_dropped",
}
CONTROLLER = "avish"
"""The route protocol of what we have put there."""


def interface_summary(view: View, body: Body) -> dict[str, Any]:
    """The interfaces with all their addresses."""
    entries = [
        {
            "intf_name": one.name,
            "mac_address": one.mac,
            "ip_info": _ip_info(one),
            "intf_state": "UP" if one.up else "DOWN",
            "owner_core": 0,
            "linux_intf_name": one.name,
            "vrf_name": view.vrf,
        }
        for one in view.engine(body).driver.interfaces()
    ]
    return envelope(body) | {"interface_entries": entries}


def _ip_info(one: Interface) -> list[dict[str, str]]:
    addresses = [ip_interface(text) for text in one.addresses]
    return [{"ip_addr": str(address.ip), "net_mask": str(address.netmask)} for address in addresses]


def interface(view: View, body: Body) -> dict[str, Any]:
    """The same with counters and settings; filters mac, intfname, core_num."""
    driver = view.engine(body).driver
    addressed = {one.name: one for one in driver.interfaces()}
    links = driver.facts("links")
    filters.check_interface(view.query, (link["name"] for link in links))
    vnics = [
        _vnic(view, link, addressed.get(link["name"]))
        for link in links
        if filters.interface_wanted(view.query, link["name"], link["mac"])
    ]
    return envelope(body) | {"vnics": vnics}


def _vnic(view: View, link: Row, addressed: Interface | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "vnic_name": link["name"],
        "vnic_id": link["index"],
        "mac_address": link["mac"],
        "ip_info": _ip_info(addressed) if addressed else [],
        "interface_stats": counted(link["statistics"], STATISTICS),
        "vnic_parent": link["master"] or None,
        "vlan_id": link["vlan"],
        "vrf_id": view.vrf_id,
        "vnic_mtu": link["mtu"],
        "intferface_up": link["up"] and link["running"],
        "interface_disabled": not link["up"],
        "linux_intf_name": link["name"],
    }
    return {name: value for name, value in found.items() if value is not None}


def vnicdb(view: View, body: Body) -> dict[str, Any]:
    """What the agent knows of the namespace: interfaces, addresses with their origin, routes."""
    seen = view.engine(body)
    links = {link["name"]: link for link in seen.driver.facts("links")}
    routes = [_db_route(view, row) for row in seen.driver.routes()]
    gateways = [row["gateway"] for row in routes if row["mask"] == 0 and row["gateway"] != "0.0.0.0"]  # noqa: S104
    vrf: dict[str, Any] = {"vrf_id": view.vrf_id, "ns_created": True, "vrf_name": view.vrf, "route": routes}
    if gateways:
        vrf["default_gw"] = gateways[0]
    vnics = [_db_vnic(view, body, link) for link in links.values()]
    return {
        "se_ref": envelope(body)["se_ref"],
        "num_vnics": len(vnics),
        "initial_vnic_discovery_done": True,
        "initial_sync_with_dataplane_done": seen.connected,
        "vnic": vnics,
        "vrf": [vrf],
    }


def _db_vnic(view: View, body: Body, link: Row) -> dict[str, Any]:
    networks = [
        {"ip": f"{row['ip']}/{row['prefixlen']}", "mode": "VIP" if row["own"] else "STATIC"}
        for row in view.engine(body).addresses()
        if row["interface"] == link["name"]
    ]
    return {
        "if_name": link["name"],
        "linux_name": link["name"],
        "mac_address": link["mac"],
        "mtu": link["mtu"],
        "dhcp_enabled": False,
        "enabled": link["up"],
        "connected": link["running"],
        "nw": networks,
        "enabled_flag": link["up"],
        "running_flag": link["running"],
        "vrf_id": view.vrf_id,
    }


def _db_route(view: View, row: Row) -> dict[str, Any]:
    network = _network(row)
    return {
        "dst_ip": str(network.network_address),
        "mask": network.prefixlen,
        "gateway": row["gateway"] or "0.0.0.0",  # noqa: S104
        "if_name": row["interface"],
        "origin": "RT_CONTROLLER" if row["protocol"] == CONTROLLER else "RT_NETLINK",
        "default_gw": network.prefixlen == 0,
        "vrf_id": view.vrf_id,
        "metric": row["metric"],
    }


def _network(row: Row) -> Any:
    return ip_network("0.0.0.0/0" if row["prefix"] in ("default", "") else row["prefix"])


def vrf_ip_info(view: View, body: Body) -> dict[str, Any]:
    """Every address the engine has, what it is for, and whether it answers for it."""
    seen = view.engine(body)
    up = {one.name for one in seen.driver.interfaces() if one.up}
    entries = [
        {
            "vrf_id": view.vrf_id,
            "vrf_name": view.vrf,
            "ip_address": row["ip"],
            "ipaddresstype": _purpose(seen.desired.addresses, row),
            "arp_enabled": row["interface"] in up and row["ip"] in seen.answering,
        }
        for row in seen.addresses()
        if not row["ip"].startswith("127.") and row["ip"] != "::1"
    ]
    return envelope(body) | {"vrf_ip_info": entries}


def _purpose(desired: Mapping[str, Any], row: Row) -> str:
    if not row["own"]:
        return "INTERFACE"
    known = desired.get(row["ip"])
    return {"vip": "VIP", "floating": "FLOATING_INTERFACE", "nat": "NAT"}[known.kind] if known else "NOT_CONFIGURED"


def route(view: View, body: Body) -> dict[str, Any]:
    """The kernel's routes; flags as routing tables have them: U up, G by a gateway, H one host, S static."""
    return envelope(body) | {"route_entry": [_route_row(view, row) for row in view.engine(body).driver.routes()]}


def ip6route(view: View, body: Body) -> dict[str, Any]:
    """The same for IPv6."""
    rows = view.engine(body).driver.facts("routes6")
    return envelope(body) | {"route_entry": [_route_row(view, row) for row in rows]}


def _route_row(view: View, row: Row) -> dict[str, Any]:
    network = _network(row)
    flags = "U" + ("G" if row["gateway"] else "") + ("H" if network.prefixlen == network.max_prefixlen else "")
    return {
        "destination": str(network.network_address),
        "gateway": row["gateway"] or "link",
        "netmask": str(network.netmask) if network.version == 4 else network.prefixlen,
        "interface": row["interface"],
        "rt_flags": flags + ("" if row["protocol"] == "kernel" else "S"),
        "ifa_ip": row.get("source") or "",
        "vrf_id": view.vrf_id,
    }


def arptable(view: View, body: Body) -> dict[str, Any]:
    """The neighbours whose hardware address the kernel knows or asks for; filter ip_address."""
    return envelope(body) | {"arp_entry": _neighbours(view, view.engine(body).driver.neighbours())}


def ndtable(view: View, body: Body) -> dict[str, Any]:
    """The same for IPv6."""
    return envelope(body) | {"nd_entry": _neighbours(view, view.engine(body).driver.facts("neighbours6"))}


def _neighbours(view: View, rows: list[Row]) -> list[dict[str, Any]]:
    wanted = view.query.get("ip_address", "")
    return [
        {
            "vnic_name": row["interface"],
            "ip_address": row["ip"],
            "mac_address": row["mac"] or "incomplete",
            "vrf_id": view.vrf_id,
            "state": row["state"],
        }
        for row in rows
        if wanted in ("", row["ip"])
    ]

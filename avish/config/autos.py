"""What the controller fills in by itself, per object type. Each function completes a well-formed body in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from avish.config.config import Body
from avish.schema.types import parse_address


def _route_ids(body: Body) -> None:
    """Routes are numbered from 1; a number once given stays with its route."""
    _number(body.get("static_routes", []), "route_id", 1)


def _node_route_ids(body: Body) -> None:
    for node in body.get("nodes", []):
        _route_ids(node)


def _vip_ids(body: Body) -> None:
    """VIPs are numbered from 0, as the vendor does."""
    _number(body.get("vip", []), "vip_id", 0)


def _number(items: Iterable[dict[str, Any]], field: str, first: int) -> None:
    taken = {item[field] for item in items if field in item}
    free = (str(number) for number in count(first) if str(number) not in taken)
    for item in items:
        if field not in item:
            item[field] = next(free)


def _port_ranges(body: Body) -> None:
    for service in body.get("services", []):
        if "port" in service and not service.get("port_range_end"):
            service["port_range_end"] = service["port"]


def _hostnames(body: Body) -> None:
    """A host name that is an address follows the address."""
    for server in body.get("servers", []):
        if "ip" in server and _is_address(server.get("hostname", server["ip"]["addr"])):
            server["hostname"] = server["ip"]["addr"]


def _servers(body: Body) -> None:
    _hostnames(body)
    body["server_count"] = len(body.get("servers", []))


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True


def _warning_days(body: Body) -> None:
    """The farthest day first, as the vendor keeps them."""
    days = body.get("ssl_certificate_expiry_warning_days")
    if days:
        days.sort(reverse=True)


def _active_standby(body: Body) -> None:
    """Legacy high availability is active/standby, whatever else is said."""
    if body["ha_mode"] == "HA_MODE_LEGACY_ACTIVE_STANDBY":
        body["active_standby"] = True


AUTOS: dict[str, Callable[[Body], None]] = {
    "vrfcontext": _route_ids,
    "vsvip": _vip_ids,
    "virtualservice": _port_ranges,
    "pool": _servers,
    "controllerproperties": _warning_days,
    "cluster": _node_route_ids,
    "serviceenginegroup": _active_standby,
}

"""``show pool <pool> ...``: health is not probed yet, so an enabled server is "not checked", never up."""

from __future__ import annotations

from typing import Any

from avish.config.config import Body
from avish.operate.filters import server_wanted
from avish.operate.view import View

NOT_CHECKED = {"state": "not checked", "reason": ["health is not probed yet; enabled servers are used"]}
NOBODY = {"state": "OPER_DOWN", "reason": ["no server is enabled"]}
DISABLED = {"state": "OPER_DISABLED"}


def summary(view: View, body: Body) -> dict[str, Any]:
    """State of a pool and how many servers it has. None is counted as up, for none is checked."""
    servers = body.get("servers", [])
    return {
        "oper_status": oper_status(view, body),
        "num_servers": len(servers),
        "num_servers_enabled": sum(server.get("enabled", True) for server in servers),
        "num_servers_up": 0,
        "percent_servers_up_total": 0,
        "percent_servers_up_enabled": 0,
    }


def runtime(view: View, body: Body) -> dict[str, Any]:
    """The ``runtime`` of a pool in lists."""
    return {"oper_status": oper_status(view, body)}


def oper_status(view: View, body: Body) -> dict[str, Any]:
    """OPER_UNUSED without a virtual service, OPER_DISABLED, OPER_DOWN without a server in use, or "not checked"."""
    if not body.get("enabled", True):
        return DISABLED
    if not any(kind == "virtualservice" for kind, _ in view.config.referrers(body["uuid"])):
        return {"state": "OPER_UNUSED"}
    if not any(server.get("enabled", True) for server in body.get("servers", [])):
        return NOBODY
    return NOT_CHECKED


def server_summary(view: View, body: Body) -> list[dict[str, Any]]:
    """One message per server."""
    monitors = [{"name": view.name_of(ref), "state": "not checked"} for ref in body.get("health_monitor_refs", [])]
    return [_server(server, body, monitors) for server in body.get("servers", []) if _wanted(view, server, body)]


def _wanted(view: View, server: Body, pool: Body) -> bool:
    return server_wanted(view.query, server["ip"]["addr"], server.get("port") or pool.get("default_server_port", 0))


def _server(server: Body, pool: Body, monitors: list[dict[str, str]]) -> dict[str, Any]:
    result = {
        "ip_addr": server["ip"],
        "port": server.get("port") or pool.get("default_server_port"),
        "hostname": server.get("hostname", ""),
        "oper_status": NOT_CHECKED if server.get("enabled", True) else DISABLED,
    }
    return result | ({"health_monitor_list": {"health_monitor": monitors}} if monitors else {})

"""``show pool <pool> ...``: its servers as the active engine finds them."""

from __future__ import annotations

from typing import Any

from avish.config.config import Body
from avish.operate.filters import server_wanted
from avish.operate.health import (
    DISABLED,
    UNTESTED,
    UNUSED,
    eased_servers,
    eased_status,
    monitor_statistics,
    monitor_summary,
    pool_status,
    server_rows,
    server_status,
    servers_up,
    transitions,
    up,
    watcher,
)
from avish.operate.view import View
from dataplane.model import Row


def summary(view: View, body: Body) -> dict[str, Any]:
    """State of a pool and how many servers it has."""
    servers = body.get("servers", [])
    enabled = sum(server.get("enabled", True) for server in servers)
    status = pool_status(view, body)
    usable = servers_up(view, body) if status["state"] != "OPER_UNUSED" else 0
    return {
        "oper_status": status,
        "num_servers": len(servers),
        "num_servers_enabled": enabled,
        "num_servers_up": usable,
        "percent_servers_up_total": 100 * usable // len(servers) if servers else 0,
        "percent_servers_up_enabled": 100 * usable // enabled if enabled else 0,
    }


def runtime(view: View, body: Body) -> dict[str, Any]:
    """The ``runtime`` of a pool in lists."""
    return {"oper_status": pool_status(view, body)}


def server_summary(view: View, body: Body) -> list[dict[str, Any]]:
    """One message per server."""
    rows, used = server_rows(view, body), pool_status(view, body)
    engine = watcher(view, body)
    eased = eased_servers(view, body, engine) if engine else {}
    return [
        _server(server, body, rows.get(_key(server, body)), used, eased.get(_key(server, body)))
        for server in body.get("servers", [])
        if server_wanted(view.query, *_key(server, body))
    ]


def _key(server: Body, pool: Body) -> tuple[str, int]:
    return server["ip"]["addr"], server.get("port") or pool.get("default_server_port", 80)


def _server(server: Body, pool: Body, row: Row | None, used: dict[str, Any], eased: Row | None) -> dict[str, Any]:
    result = {
        "ip_addr": server["ip"],
        "port": _key(server, pool)[1],
        "hostname": server.get("hostname", ""),
        "oper_status": eased_status(_status(server, row, used), eased),
    }
    return result | ({"health_monitor_list": {"health_monitor": monitor_summary(row)}} if row else {})


def _status(server: Body, row: Row | None, pool: dict[str, Any]) -> dict[str, Any]:
    if not server.get("enabled", True) or pool == DISABLED:
        return DISABLED
    if pool == UNUSED:
        return UNUSED
    return server_status(row) if row else up(None, UNTESTED)


def hmonstat(view: View, body: Body) -> dict[str, Any]:
    """How the tests of each server went."""
    rows = server_rows(view, body)
    wanted = [row for key, row in rows.items() if server_wanted(view.query, *key)]
    return {"server_hm_stat": [_hm_stat(row) for row in wanted]}


def _hm_stat(row: Row) -> dict[str, Any]:
    return {
        "server_name": f"{row['ip']}:{row['port']}",
        "oper_status": server_status(row),
        **transitions(row["transitions"]),
        "shm_runtime": [monitor_statistics(test) for test in row["monitors"]],
        "ip_addr": {"addr": row["ip"], "type": "V6" if ":" in row["ip"] else "V4"},
        "port": row["port"],
    }

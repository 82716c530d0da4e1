"""The health of pools and servers as the active engine found it, in the original's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avish.compile.health import users_of_pool
from avish.config.config import Body, Config
from avish.operate.view import Seen, View
from dataplane.errors import DataplaneError
from dataplane.model import Row

Status = dict[str, Any]
DISABLED: Status = {"state": "OPER_DISABLED"}
UNUSED: Status = {"state": "OPER_UNUSED"}
UNTESTED = "no health monitor tests it: enabled servers are used"
KINDS = {
    "tcp": "HEALTH_MONITOR_TCP",
    "udp": "HEALTH_MONITOR_UDP",
    "ping": "HEALTH_MONITOR_PING",
    "http": "HEALTH_MONITOR_HTTP",
    "https": "HEALTH_MONITOR_HTTPS",
    "ftp": "HEALTH_MONITOR_FTP",
    "external": "HEALTH_MONITOR_EXTERNAL",
}


def up(since: float | None = None, *reasons: str) -> Status:
    """OPER_UP, since a time in seconds."""
    return _status("OPER_UP", since, reasons)


def down(since: float | None = None, *reasons: str) -> Status:
    """OPER_DOWN, and why."""
    return _status("OPER_DOWN", since, reasons)


def _status(state: str, since: float | None, reasons: tuple[str, ...]) -> Status:
    status: Status = {"state": state}
    if reasons:
        status["reason"] = list(reasons)
    return status | ({"last_changed_time": stamp(since)} if since else {})


def stamp(seconds: float) -> dict[str, int]:
    """A time as the original's TimeStamp."""
    whole = int(seconds)
    return {"secs": whole, "usecs": int((seconds - whole) * 1_000_000)}


def groups_of(config: Config, pool: Body) -> Iterator[str]:
    """References to the engine groups that send connections to the pool."""
    services = (config.get("virtualservice", uuid) for uuid in sorted(users_of_pool(config, pool["uuid"])))
    return (body["se_group_ref"] for body in services if body is not None and body.get("se_group_ref"))


def watcher(view: View, pool: Body) -> Seen | None:
    """The engine that is asked about a pool: the active one of the first group that uses it."""
    group = next(groups_of(view.config, pool), None)
    return view.active(group) if group else None


def pool_status(view: View, pool: Body) -> Status:
    """OPER_DISABLED, OPER_UNUSED without a virtual service, OPER_DOWN when too few servers are up, or OPER_UP.

    Found once for each request: a pool may have thousands of services.
    """
    known: Status | None = view.memo.get(pool["uuid"])
    if known is None:
        known = view.memo[pool["uuid"]] = _pool_status(view, pool)
    return known


def _pool_status(view: View, pool: Body) -> Status:
    if not pool.get("enabled", True):
        return DISABLED
    if next(users_of_pool(view.config, pool["uuid"]), None) is None:
        return UNUSED
    if pool.get("routing_pool"):
        return up(None, "it only routes: there are no servers to be down")
    if not any(server.get("enabled", True) for server in pool.get("servers", [])):
        return down(None, "no server is enabled")
    engine = watcher(view, pool)
    return _found(view, pool, engine) if engine else down(None, "no service engine tests it")


def _found(view: View, pool: Body, engine: Seen) -> Status:
    try:
        eased = eased_servers(view, pool, engine)
        if pool["uuid"] in engine.desired.pools:
            return _judged(pool, engine.pools.get(pool["uuid"]), eased)
    except DataplaneError as error:
        return down(None, f"service engine {engine.name}: {error}")
    if not any(row["out"] for row in eased.values()):
        return up(None, UNTESTED)
    servers = sum(bool(server.get("enabled", True)) for server in pool.get("servers", []))
    return _judged(pool, {"servers": servers, "up": servers, "since": None, "down": []}, eased)


def _judged(pool: Body, row: Row | None, eased: Mapping[tuple[str, int], Row]) -> Status:
    if row is None:
        return down(None, "its servers were not tested yet")
    needed = max(pool.get("min_servers_up") or 1, 1)
    failing = {(one["ip"], one["port"]) for one in row["down"]}
    out = [one for key, one in eased.items() if one["out"] and key not in failing]
    usable = row["up"] - len(out)
    if usable >= needed:
        return up(row["since"])
    few = f"{usable} of {row['servers']} servers up" + (f", {needed} are needed" if needed > 1 else "")
    since = max([row["since"] or 0.0, *(one["since"] for one in out)])
    told = [f"{one['ip']}:{one['port']} {one['reason']}" for one in [*row["down"], *out][:3]]
    return down(since, few, *told)


def eased_servers(view: View, pool: Body, engine: Seen) -> dict[tuple[str, int], Row]:
    """The servers of a pool that get fewer connections, or none, because those of clients fail; by address and port."""
    if not engine.eased:
        return {}
    numbers = {view.ids.get("service", uuid) for uuid in users_of_pool(view.config, pool["uuid"])}
    usual = pool.get("default_server_port", 80)
    own = {(server["ip"]["addr"], server.get("port") or usual) for server in pool.get("servers", [])}
    rows = sorted((row for row in engine.eased if row["service"] in numbers), key=lambda row: bool(row["out"]))
    return {(row["ip"], row["port"]): row for row in rows if (row["ip"], row["port"]) in own}


def eased_status(status: Status, row: Row | None) -> Status:
    """The state of a server, after what connections of clients say."""
    if row is None or status["state"] != "OPER_UP":
        return status
    if row["out"]:
        return down(row["since"], f"inline monitor: {row['reason']}; it is tried again soon")
    return up(row["since"], f"inline monitor: {row['reason']}; it gets a quarter of its share")


def server_status(row: Row) -> Status:
    """The state of a server from a row of the driver."""
    if row["up"]:
        return up(row["since"])
    if row["up"] is None:
        return _status("OPER_INITIALIZING", row["since"], (row["reason"],))
    return down(row["since"], row["reason"])


def servers_up(view: View, pool: Body) -> int:
    """How many servers are up; all enabled ones where nothing is tested."""
    enabled = sum(bool(server.get("enabled", True)) for server in pool.get("servers", []))
    engine = watcher(view, pool)
    if not pool.get("enabled", True) or engine is None:
        return 0
    eased = eased_servers(view, pool, engine)
    if pool["uuid"] not in engine.desired.pools:
        return enabled - sum(bool(row["out"]) for row in eased.values())
    row = engine.pools.get(pool["uuid"])
    failing = {(one["ip"], one["port"]) for one in row["down"]} if row else set()
    return int(row["up"]) - sum(bool(one["out"]) for key, one in eased.items() if key not in failing) if row else 0


def server_rows(view: View, pool: Body) -> dict[tuple[str, int], Row]:
    """What the active engine knows of each server, by address and port; empty where nothing is tested."""
    engine = watcher(view, pool)
    if engine is None or pool["uuid"] not in engine.desired.pools:
        return {}
    return {(row["ip"], row["port"]): row for row in engine.driver.health(pool["uuid"])}


def monitor_summary(row: Row) -> list[dict[str, Any]]:
    """The tests of a server in short."""
    return [
        {
            "name": test["name"],
            "state": _STATES[test["up"]],
            "recent_response_time": round(test["recent"]),
            "avg_response_time": round(test["average"]),
        }
        | ({"failure_code": test["code"], "reason": test["reason"]} if test["up"] is False else {})
        for test in row["monitors"]
    ]


_STATES = {True: "OPER_UP", False: "OPER_DOWN", None: "OPER_INITIALIZING"}


def monitor_statistics(test: Row) -> dict[str, Any]:
    """One test of a server in full."""
    statistics = {
        "health_monitor_name": test["name"],
        "uuid": test["monitor"],
        "health_monitor_type": KINDS[test["kind"]],
        **transitions(test["transitions"]),
        "state": _STATES[test["up"]],
        "rise_count": test["rise"],
        "fall_count": test["fall"],
        "total_checks": test["checks"],
        "total_failed_checks": test["failed"],
        "total_count": [{"type": code, "count": count} for code, count in sorted(test["failures"].items())],
        "avg_response_time": round(test["average"]),
        "recent_response_time": round(test["recent"]),
        "min_response_time": round(test["fastest"]),
        "max_response_time": round(test["slowest"]),
        "port": test["port"],
        "curr_failed_checks": test["fall"],
    }
    return {key: value for key, value in statistics.items() if value != []}


def transitions(times: list[float]) -> dict[str, Any]:
    """The last three changes; 3 is the latest."""
    numbered = zip((3, 2, 1), reversed(times), strict=False)
    return {f"last_transition_timestamp_{number}": stamp(seconds) for number, seconds in numbered}

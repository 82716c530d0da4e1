"""``show ... rate`` and ``show top ...``: how fast things go, as the controller has watched them."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from avish.config.config import Body
from avish.config.ids import rule_key
from avish.errors import UnavailableError, ValidationError
from avish.operate.filters import number
from avish.operate.flows import PHASES, phase
from avish.operate.marks import describe
from avish.operate.pool_stats import users
from avish.operate.service_stats import mark_of
from avish.operate.view import Pace, View
from dataplane.errors import DataplaneError
from dataplane.model import Row

BARS = "▁▂▃▄▅▆▇█"
METRICS = ("connections", "packets", "reply_packets", "bytes", "reply_bytes")
NAMES = {
    "connections": "connections/s",
    "packets": "packets/s in",
    "reply_packets": "packets/s out",
    "bytes": "bytes/s in",
    "reply_bytes": "bytes/s out",
}
HEALTH = {100.0: "up", 0.0: "down"}
TOP = 20
Rate = dict[str, Any]


def spark(values: Iterable[float]) -> str:
    """A line of bars; the highest fills it, nothing is the lowest."""
    known = list(values)
    most = max(known, default=0.0)
    if most <= 0:
        return BARS[0] * len(known)
    return "".join(BARS[round(max(value, 0) / most * (len(BARS) - 1))] for value in known)


def health_line(values: Iterable[float]) -> str:
    """The last hour by minutes: a full bar up, the lowest down, a dot not known."""
    return "".join("█" if value == 100 else "▁" if value == 0 else "·" for value in values)


def service(view: View, body: Body) -> dict[str, Any]:
    """A virtual service: one row for each metric, and its health."""
    return {"name": body["name"], "rate": _rows(_pace(view, ("service", body["uuid"])))}


def engine(view: View, body: Body) -> dict[str, Any]:
    """A service engine: what its interfaces carry, in what they receive, out what they send."""
    pace = _pace(view, ("engine", body["name"]))
    return {"name": body["name"], "rate": [row for row in _rows(pace) if row["metric"] != NAMES["connections"]]}


def pool(view: View, body: Body) -> dict[str, Any]:
    """The servers of a pool: in is what clients send to them."""
    marks = {mark for one in users(view, body) if (mark := mark_of(view, one))}
    rows = []
    for server in body.get("servers", []):
        ip, port = server["ip"]["addr"], server.get("port") or body.get("default_server_port", 0)
        paces = [pace for mark in marks if (pace := _book(view, ("server", f"{mark} {ip} {port}")))]
        rows.append({"server": f"{ip}:{port}", **_now(paces)})
    return {"name": body["name"], "rate": rows}


def rules(view: View, body: Body) -> dict[str, Any]:
    """The rules of a NAT policy."""
    rows = []
    for rule in sorted(body.get("rules", []), key=lambda rule: rule["index"]):
        pace = _book(view, ("rule", rule_key(body["uuid"], rule["index"])))
        rows.append({"rule": f"{rule['index']} {rule.get('name', '')}".rstrip(), **_now([pace] if pace else [])})
    return {"name": body["name"], "rate": rows}


def _book(view: View, key: tuple[str, str]) -> Pace | None:
    return view.rates.get(key) if view.rates is not None else None


def _pace(view: View, key: tuple[str, str]) -> Pace:
    found = _book(view, key)
    if found is None:
        raise UnavailableError("nothing has been counted yet: the engine was not in step since the controller started")
    return found


def _rows(pace: Pace) -> list[Rate]:
    rows = [
        {
            "metric": NAMES[name],
            "now": pace.now[name],
            "most": max(seconds := pace.seconds[name].values()),
            "last_minute": spark(seconds),
            "last_hour": spark(minutes := pace.minutes[name].values()),
            "seconds": seconds,
            "minutes": minutes,
        }
        for name in METRICS
    ]
    health = pace.health.values()
    state = HEALTH.get(pace.state, "not known")
    return [*rows, {"metric": "health", "now": state, "last_hour": health_line(health), "minutes": health}]


def _now(paces: list[Pace]) -> Rate:
    """The rates of several together."""
    sums: Rate = {name: round(sum(pace.now[name] for pace in paces), 2) for name in METRICS}
    series = [pace.seconds["bytes"].values() for pace in paces] + [
        pace.seconds["reply_bytes"].values() for pace in paces
    ]
    sums["seconds"] = [round(sum(values), 2) for values in zip(*series, strict=True)]
    sums["last_minute"] = spark(sums["seconds"])
    return sums


# --- top


def top_services(view: View, body: Body) -> dict[str, Any]:  # noqa: ARG001  (of no object)
    """The virtual services, the busiest first."""
    known = {one["uuid"]: one for one in view.config.all("virtualservice")}
    return _top(view, ((known[uuid]["name"], pace) for uuid, pace in _all(view, "service") if uuid in known))


def top_rules(view: View, body: Body) -> dict[str, Any]:  # noqa: ARG001
    """The NAT rules, the busiest first."""
    names = {
        rule_key(policy["uuid"], rule["index"]): f"{policy['name']}/{rule['index']} {rule.get('name', '')}".rstrip()
        for policy in view.config.all("natpolicy")
        for rule in policy.get("rules", [])
    }
    return _top(view, ((names[key], pace) for key, pace in _all(view, "rule") if key in names))


def top_servers(view: View, body: Body) -> dict[str, Any]:  # noqa: ARG001
    """The servers, the busiest first."""

    def named() -> Iterator[tuple[str, Pace]]:
        for key, pace in _all(view, "server"):
            mark, ip, port = key.split(" ")
            owner = describe(view.config, view.ids, int(mark)).get("virtualservice")
            if owner:
                yield f"{owner} {ip}:{port}", pace

    return _top(view, named())


def _all(view: View, kind: str) -> Iterator[tuple[str, Pace]]:
    return view.rates.all(kind) if view.rates is not None else iter(())


def _top(view: View, found: Iterable[tuple[str, Pace]]) -> dict[str, Any]:
    rows = ({"name": name, **_now([pace])} for name, pace in found)
    return _sorted(view, rows, "bytes")


def _sorted(view: View, rows: Iterable[Rate], otherwise: str) -> dict[str, Any]:
    """The first ones by the column that was asked for."""
    by = view.query.get("sort", "") or otherwise
    count = number(view.query, "count") or TOP

    def key(row: Rate) -> Any:
        if by not in row:
            raise ValidationError(f"sort: there is no column {by!r}; there are {', '.join(sorted(row))}")
        value = row[by]
        return value if isinstance(value, int | float) else 0

    if by == "name":
        return {"sort": by, "top": heapq.nsmallest(count, rows, key=lambda row: str(row["name"]))}
    return {"sort": by, "top": heapq.nlargest(count, rows, key=key)}


class _Looks:
    """The byte counts of the last look at each engine's connections: rates need two."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, dict[tuple[Any, ...], int]]] = {}

    def rates(self, engine: str, rows: Iterable[Row]) -> Iterator[tuple[Row, float]]:
        """Each connection with its bytes per second since the last look; of a new one since it began."""
        now = time.monotonic()
        before, known = self._seen.get(engine, (0.0, {}))
        fresh: dict[tuple[Any, ...], int] = {}
        found = []
        for row in rows:
            key = (row["protocol"], row["src"], row["sport"], row["dst"], row["dport"])
            size = row["bytes"] + row["reply_bytes"]
            fresh[key] = size
            grown = size - known[key] if size >= known.get(key, size + 1) else size
            took = now - before if key in known else max(row["age"] or 1, 1)
            found.append((row, grown / max(took, 0.1)))
        self._seen[engine] = (now, fresh)
        return iter(found)


_LOOKS = _Looks()


def top_flows(view: View, body: Body) -> dict[str, Any]:  # noqa: ARG001
    """The connections of services and NAT rules, the busiest first; those that are over send nothing any more."""
    rows = (_flow(name, row, rate) for name, row, rate in _flows(view) if phase(row) not in ("closed", "reset"))
    return _sorted(view, rows, "rate")


def _flow(engine_name: str, row: Row, rate: float) -> Rate:
    return {
        "name": f"{row['src']}:{row['sport']} > {row['dst']}:{row['dport']}",
        "se": engine_name,
        "mark": row["mark"],
        "server": f"{row['reply_src']}:{row['reply_sport']}",
        "state": phase(row) if row["protocol"] == 6 else PHASES[-1],
        "rate": round(rate, 1),
        "bytes": row["bytes"],
        "reply_bytes": row["reply_bytes"],
        "age": int(row["age"] or 0),
    }


def top_clients(view: View, body: Body) -> dict[str, Any]:  # noqa: ARG001
    """Those that opened connections to services, the busiest first."""
    found: dict[str, Rate] = {}
    for _, row, rate in _flows(view):
        one = found.setdefault(
            row["src"], {"name": row["src"], "connections": 0, "rate": 0.0, "bytes": 0, "reply_bytes": 0}
        )
        one["connections"] += 1
        one["rate"] = round(one["rate"] + rate, 1)
        one["bytes"] += row["bytes"]
        one["reply_bytes"] += row["reply_bytes"]
    return _sorted(view, found.values(), "rate")


def _flows(view: View) -> Iterator[tuple[str, Row, float]]:
    for seen in view.engines.values():
        try:
            marked = [row for row in seen.driver.flows(0, 0) if row["mark"]]
        except DataplaneError:
            continue
        for row, rate in _LOOKS.rates(seen.place, marked):
            yield seen.name, row, rate


RUN: dict[str, Callable[[View, Body], Any]] = {
    "vs.rate": service,
    "pool.rate": pool,
    "se.rate": engine,
    "natpolicy.rate": rules,
    "top.services": top_services,
    "top.servers": top_servers,
    "top.rules": top_rules,
    "top.flows": top_flows,
    "top.clients": top_clients,
}
"""By the ``run`` of a command in the grammar."""

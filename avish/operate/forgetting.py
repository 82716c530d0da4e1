"""``clear ...`` of what the kernels remember: connections, neighbours, clients bound to servers."""

from __future__ import annotations

from typing import Any

from avish.config.config import Body
from avish.operate.flows import ALL_BITS
from avish.operate.pool_stats import users
from avish.operate.service_stats import mark_of
from avish.operate.view import View


def connections(view: View, body: Body) -> dict[str, Any]:
    """Those of a virtual service, on all engines that carry it, so that no mirrored one comes back."""
    mark = mark_of(view, body)
    members = view.carriers(body) if mark else []
    return {
        "name": body["name"],
        "num_forgotten": sum(view.engine(one).driver.forget_flows(mark, ALL_BITS) for one in members),
    }


def flowtable(view: View, body: Body) -> dict[str, Any]:
    """All connections of an engine."""
    return {"name": body["name"], "num_forgotten": view.engine(body).driver.forget_flows(0, 0)}


def neighbours(view: View, body: Body) -> dict[str, Any]:
    """What an engine learned of its neighbours."""
    return {"name": body["name"], "num_forgotten": view.engine(body).driver.forget_neighbours()}


def bound(view: View, body: Body) -> dict[str, Any]:
    """The clients that are bound to servers of a pool, on all engines."""
    servers = tuple(server["ip"]["addr"] for server in body.get("servers", []))
    pairs = [(one, mark) for one in users(view, body) if (mark := mark_of(view, one))]
    drivers = [(view.engine(member).driver, mark) for one, mark in pairs for member in view.carriers(one)]
    return {"name": body["name"], "num_forgotten": sum(driver.forget_bound(mark, servers) for driver, mark in drivers)}

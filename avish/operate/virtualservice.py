"""``show virtualservice <vs> ...`` and the state in the list of virtual services."""

from __future__ import annotations

from typing import Any

from avish.config.config import Body
from avish.operate.health import down, pool_status, up
from avish.operate.serviceengine import oper_status as engine_status
from avish.operate.view import Seen, View
from dataplane.errors import DataplaneError
from dataplane.model import Service

Status = dict[str, Any]


def summary(view: View, body: Body) -> dict[str, Any]:
    """State of a virtual service, for each VIP the engines that carry it."""
    status = oper_status(view, body)
    engines = [_assigned(view, body, member, first=number == 0) for number, member in enumerate(_members(view, body))]
    up = sum(engine["oper_status"]["state"] == "OPER_UP" for engine in engines)
    placed = {
        "service_engine": engines,
        "num_se_requested": len(engines),
        "num_se_assigned": len(engines),
        "percent_ses_up": 100 * up // len(engines) if engines else 0,
    }
    vips = [{"vip_id": vip["vip_id"], "oper_status": status, **placed} for vip in _vips(view, body)]
    return {"oper_status": status, "vip_summary": vips, "type": body.get("type", "VS_TYPE_NORMAL")}


def runtime(view: View, body: Body) -> dict[str, Any]:
    """The ``runtime`` of a virtual service in lists."""
    return {"oper_status": oper_status(view, body)}


def oper_status(view: View, body: Body) -> Status:
    """OPER_UP only when the active engine answers and its kernel holds every port and the address."""
    if not body.get("enabled", True):
        return {"state": "OPER_DISABLED"}
    members = _members(view, body)
    if not members:
        return _down(f"no service engine in the group {view.name_of(body.get('se_group_ref'))}")
    active = view.engines.get(members[0]["name"])
    status = engine_status(view, members[0])
    if active is None or status["state"] != "OPER_UP":
        return _down(f"service engine {members[0]['name']}: {', '.join(status['reason'])}")
    return _on_engine(view, body, active)


def _on_engine(view: View, body: Body, active: Seen) -> Status:
    service = _service(view, body, active)
    if service is None:
        return _down("nothing is forwarded: it needs an enabled VIP, a port and a pool")
    try:
        faults = _faults(active, service)
    except DataplaneError as error:
        return _down(f"service engine {active.name}: {error}")
    if faults:
        return _down(*faults)
    return _by_pools(view, service, active)


def _by_pools(view: View, service: Service, active: Seen) -> Status:
    """Up when one of its pools is."""
    found = [(pool, pool_status(view, pool)) for uuid in service.pools if (pool := view.config.get("pool", uuid))]
    if not found or any(status["state"] == "OPER_UP" for _, status in found):
        changed = [status["last_changed_time"]["secs"] for _, status in found if "last_changed_time" in status]
        return up(max([active.since, *changed]))
    reasons = [f"pool {pool['name']}: {', '.join(status.get('reason', [status['state']]))}" for pool, status in found]
    times = [status["last_changed_time"]["secs"] for _, status in found if "last_changed_time" in status]
    return down(max(times, default=None), *reasons)


def _service(view: View, body: Body, engine: Seen) -> Service | None:
    number = view.ids.get("service", body["uuid"])
    return engine.desired.services.get(number) if number is not None else None


def _faults(engine: Seen, service: Service) -> list[str]:
    """What the kernel lacks of a service, in words."""
    held = engine.held.get(service.id, set())
    faults = [
        f"port {one.first} of {one.ip} is not in the kernel of {engine.name}"
        for one in service.listeners
        if (one.ip, one.protocol, one.first, one.last) not in held
    ]
    missing = sorted({one.ip for one in service.listeners} - engine.answering)
    faults += [f"address {ip} is not on {engine.name}" for ip in missing]
    return faults if service.slots else [*faults, "no enabled server in the pool"]


def _down(*reasons: str) -> Status:
    return {"state": "OPER_DOWN", "reason": list(reasons)}


def _members(view: View, body: Body) -> list[Body]:
    return view.carriers(body)


def _vips(view: View, body: Body) -> list[Body]:
    return list((view.config.target(body.get("vsvip_ref")) or {}).get("vip", []))


def _assigned(view: View, body: Body, member: Body, *, first: bool) -> dict[str, Any]:
    status = engine_status(view, member)
    seen = view.engines.get(member["name"])
    if status["state"] == "OPER_UP" and seen is not None:
        status = _on_engine(view, body, seen) if first else {"state": "OPER_UP", "reason": ["standby"]}
    return {
        "name": member["name"],
        "uuid": member["uuid"],
        "primary": first,
        "standby": not first,
        "connected": bool(seen and not seen.fault()),
        "oper_status": status,
    }

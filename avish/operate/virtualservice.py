"""``show virtualservice <vs> ...`` and the state in the list of virtual services."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from avish.config.config import Body
from avish.config.services import vip_targets
from avish.operate.health import down, pool_status, stamp, up
from avish.operate.serviceengine import oper_status as engine_status
from avish.operate.view import Seen, View
from dataplane.errors import DataplaneError
from dataplane.model import Listener, Service

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
    found = [(vip["vip_id"], _vip_status(view, body, vip)) for vip in _vips(view, body)]
    vips = [{"vip_id": number, "oper_status": state, **placed} for number, state in found]
    return {"oper_status": status, "vip_summary": vips, "type": body.get("type", "VS_TYPE_NORMAL")}


def runtime(view: View, body: Body) -> dict[str, Any]:
    """The ``runtime`` of a virtual service in lists."""
    return {"oper_status": oper_status(view, body)}


def oper_status(view: View, body: Body) -> Status:
    """OPER_UP only when the active engine answers and its kernel holds every port and the address."""
    return _placed(view, body, _on_engine)


def _placed(view: View, body: Body, judge: Callable[[View, Body, Seen], Status]) -> Status:
    """What ``judge`` says of the engine that is active for a virtual service, if there is one and it is up."""
    if not body.get("enabled", True):
        return {"state": "OPER_DISABLED", **_changed(body)}
    members = _members(view, body)
    if not members:
        return _down(f"no service engine in the group {view.name_of(body.get('se_group_ref'))}")
    active = view.engines.get(members[0]["name"])
    status = engine_status(view, members[0])
    if active is None or status["state"] != "OPER_UP":
        return {**status, "reason": [f"service engine {members[0]['name']}: {', '.join(status['reason'])}"]}
    return judge(view, body, active)


def _changed(body: Body) -> Status:
    """What configuration alone decides is so since it was written."""
    return {"last_changed_time": stamp(int(body["_last_modified"]) / 1e6)} if "_last_modified" in body else {}


def _vip_status(view: View, body: Body, vip: Body) -> Status:
    """OPER_UP when the active engine has the address, answers for it, and its kernel holds the ports there.

    Whether a server is behind it is the business of the pool.
    """
    targets = vip_targets({"vip": [vip]})
    if not targets:
        return {"state": "OPER_DISABLED"}
    return _placed(view, body, lambda view, body, active: _address_status(view, body, active, targets))


def _address_status(view: View, body: Body, active: Seen, targets: list[str]) -> Status:
    pair = view.pair(body, body.get("se_group_ref"))
    if pair and not active.leads(pair):
        return _down("no service engine answers for it: none is active yet")
    service = _service(view, body, active)
    if service is None:
        return _down("nothing is forwarded: it needs a port and a pool")
    try:
        faults = _faults(active, [one for one in service.listeners if one.ip in targets], service.id)
    except DataplaneError as error:
        return _down(f"service engine {active.name}: {error}")
    return _down(*faults) if faults else up(max(active.since, active.roles[pair]["since"] if pair else 0.0))


def _on_engine(view: View, body: Body, active: Seen) -> Status:
    service = _service(view, body, active)
    if service is None:
        return _down("nothing is forwarded: it needs an enabled VIP, a port and a pool")
    try:
        faults = _faults(active, service.listeners, service.id)
    except DataplaneError as error:
        return _down(f"service engine {active.name}: {error}")
    if not (service.slots or service.routed or any(branch.slots for branch in service.branches)):
        faults.append("no enabled server in the pool")
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


def _faults(engine: Seen, listeners: Iterable[Listener], number: int) -> list[str]:
    """What the kernel lacks of a service, in words."""
    held, every = engine.held.get(number, set()), list(listeners)
    faults = [
        f"port {one.first} of {one.ip} is not in the kernel of {engine.name}"
        for one in every
        if (one.ip, one.protocol, one.first, one.last) not in held
    ]
    missing = sorted({one.ip for one in every if "/" not in one.ip} - engine.answering)  # a network is nobody's address
    return faults + [f"address {ip} is not on {engine.name}" for ip in missing]


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

"""Steps of a plan in words, for dry runs and logs."""

from __future__ import annotations

from typing import Any

from dataplane.diff import Plan, Step
from dataplane.failover_model import Pair
from dataplane.health_model import Probe, Watch
from dataplane.model import Address, NatRule, Route, Service

NOUNS = {
    "addresses": "address", "routes": "route", "services": "service", "nat": "NAT rule", "switches": "switch",
    "probes": "health monitor", "pools": "watch over", "pairs": "pair",
}  # fmt: skip


def plan_text(plan: Plan) -> list[str]:
    """One line a step."""
    return [step_text(step) for step in plan]


def step_text(step: Step) -> str:
    """``add route 10.1.0.0/24 via 10.0.0.254``."""
    if step.table == "switches":
        return f"turn {step.key} {'on' if step.new else 'off'}"
    if step.table == "timeouts":
        return f"remember {step.key} flows " + ("as the kernel does" if step.new is None else f"{step.new} s")
    verb = "remove" if step.op == "drop" else "add" if step.old is None else "change"
    return f"{verb} {NOUNS[step.table]} {_value_text(step.old if step.op == 'drop' else step.new)}"


def _value_text(value: Any) -> str:
    if isinstance(value, Address):
        return f"{value.ip} ({value.kind}) on {value.interface or 'the loopback device'}"
    if isinstance(value, Route):
        return f"{value.prefix} via {value.gateway}"
    if isinstance(value, Service):
        return f"{value.id}: {_listeners(value)} to {len(set(value.slots))} servers, {value.picker.replace('_', ' ')}"
    if isinstance(value, NatRule):
        policy, index = value.order
        effect = f"source becomes {', '.join(value.pool)}" if value.enabled else "disabled"
        return f"{policy} index {index}: {effect}"
    return _watch_text(value)


def _watch_text(value: Any) -> str:
    if isinstance(value, Probe):
        return f"{value.name}: {value.kind} every {value.interval:g} s"
    if isinstance(value, Watch):
        return f"{len(value.servers)} servers, {len(value.probes)} health monitors"
    if isinstance(value, Pair):
        role = "preferred" if value.preferred else "second"
        return f"as {role} engine over {', '.join(link.interface for link in value.links)}"
    return str(value)


def _listeners(service: Service) -> str:
    return ", ".join(
        f"{one.protocol} {one.ip}:{one.first}" + (f"-{one.last}" if one.last != one.first else "")
        for one in service.listeners
    )

"""``drill failover``: the active engine of a pair is made to fail, and the other one measures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from avish.compile.pairs import TAGS
from avish.config.config import Body
from avish.errors import ValidationError
from avish.operate.failover import NO_PAIR
from avish.operate.view import Seen, View
from dataplane.errors import DataplaneError, RefusedError

_ESTABLISHED = "ESTABLISHED"
Flow = tuple[Any, ...]


def drill(view: View, body: Body) -> dict[str, Any]:
    """Fail over from an engine, as if it had crashed. ValidationError when there is nothing to fail over."""
    seen = view.engine(body)
    peers = (view.engines.get(one["name"]) for one in view.group(body.get("se_group_ref")) if one["name"] != seen.name)
    peer = next((one for one in peers if one is not None and one.desired.pairs), None)
    active = [number for number in seen.desired.pairs if seen.leads(number)]
    if not seen.desired.pairs or peer is None:
        raise ValidationError(f"serviceengine {seen.name}: {NO_PAIR}")
    if not active:
        raise ValidationError(f"serviceengine {seen.name} is not the active one: drill failover {peer.name}")
    if not all(peer.roles.get(number, {}).get("role") == "standby" for number in active):
        raise ValidationError(
            f"serviceengine {peer.name} could not take over: see show serviceengine {peer.name} summary"
        )
    return _measured(seen, [one for one in view.places(body) if one.leads(active[0])], peer, active[0])


def _measured(seen: Seen, dying: list[Seen], peer: Seen, number: int) -> dict[str, Any]:
    """Measured in the main VRF; the engine falls silent in all of them."""
    before = _flows(seen)
    try:
        with ThreadPoolExecutor(1) as pool:
            measured = pool.submit(peer.driver.drill, number)
            for one in dying:
                one.driver.crash(number)
            found = measured.result()
    except RefusedError as error:
        raise ValidationError(f"service engine {peer.name}: {error}") from error
    kept = _flows(peer)
    tag = next(tag for tag, pair in TAGS.items() if pair == number)
    return {
        "from": seen.name,
        "to": peer.name,
        "active_tag": tag,
        "outage_ms": found["outage_ms"],
        "probe_answers_before": found["answers"],
        "flows_before": len(before),
        "flows_lost": len(before - kept),
        "connection_mirror": any(row["mirror"] for row in peer.roles.values()),
    }


def _flows(seen: Seen) -> set[Flow]:
    """The established TCP connections of services and NAT rules that an engine knows."""
    try:
        return {
            (row["src"], row["sport"], row["dst"], row["dport"])
            for row in seen.driver.flows(0, 0)
            if row["mark"] and row["state"] == _ESTABLISHED
        }
    except DataplaneError:
        return set()

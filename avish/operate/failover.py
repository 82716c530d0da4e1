"""``switchover ...``: the active engine of a pair hands over to the other one."""

from __future__ import annotations

from typing import Any

from avish.compile.pairs import TAGS
from avish.config.config import Body
from avish.errors import ValidationError
from avish.operate.view import Seen, View
from dataplane.errors import RefusedError

NO_PAIR = (
    "a switchover needs a pair: ha_mode_legacy_active_standby in the serviceenginegroup, two engines in it, "
    "and a network that both are in"
)


def switch_engine(view: View, body: Body) -> dict[str, Any]:
    """Everything the engine is active for goes to the other one. ValidationError when it is not in a pair."""
    view.engine(body)
    paired = [seen for seen in view.places(body) if seen.desired.pairs]
    if not paired:
        raise ValidationError(f"serviceengine {body['name']}: {NO_PAIR}")
    active = [(seen, pair) for seen in paired for pair in seen.desired.pairs if seen.leads(pair)]
    if not active:
        raise ValidationError(f"serviceengine {body['name']} is not the active one: nothing to switch over")
    return _switched(view, active, body.get("se_group_ref"))


def switch_service(view: View, body: Body) -> dict[str, Any]:
    """The virtual service, and all that answer together with it, in other VRFs too, go to the other engine."""
    members = view.carriers(body)
    pair = view.pair(body, body.get("se_group_ref"))
    seen = view.engines.get(members[0]["name"]) if members else None
    if seen is None or not pair:
        raise ValidationError(f"virtualservice {body['name']}: {NO_PAIR}")
    every = view.everywhere or view.engines
    active = [(one, pair) for one in every.values() if one.name == seen.name and one.leads(pair)]
    return _switched(view, active or [(seen, pair)], body.get("se_group_ref"))


def _switched(view: View, active: list[tuple[Seen, int]], group: str | None) -> dict[str, Any]:
    """One engine hands over pairs, in each of its VRFs that are given."""
    seen, numbers = active[0][0], {number for _, number in active}
    if any(one.desired.pairs[number].preempt and one.desired.pairs[number].preferred for one, number in active):
        raise ValidationError(
            f"service engine {seen.name} would take it back at once: auto_redistribute_active_standby_load is on in "
            "its serviceenginegroup; set no auto_redistribute_active_standby_load first"
        )
    try:
        for one, number in active:
            one.driver.step_down(number)
    except RefusedError as error:
        raise ValidationError(f"service engine {seen.name}: {error}") from error
    other = next((body["name"] for body in view.group(group) if body["name"] != seen.name), "")
    tags = [tag for tag, number in TAGS.items() if number in numbers]
    return {"from": seen.name, "to": other, "active_tags": tags}

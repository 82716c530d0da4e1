"""Checks of rules about connections: network security policies and layer 4 policies."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.checked import Checked
from avish.config.checks_routing import ADDRESS_LISTS
from avish.config.config import Body
from avish.errors import Issue

RATE_LIMIT = "NETWORK_SECURITY_POLICY_ACTION_TYPE_RATE_LIMIT"
SELECTED = {
    "L4_RULE_ACTION_SELECT_POOL": "pool_ref",
    "L4_RULE_ACTION_SELECT_POOLGROUP": "pool_group_ref",
}
"""What each action of a layer 4 rule needs."""
PORT_SIDES = {"vs_port": "", "client_port": "ranges", "port": "port_ranges"}
"""Where ports are compared, and the name of its ranges."""


def security_rules_complete(checked: Checked) -> Iterator[Issue]:
    """A rule says what it matches; a limit says how much."""
    for number, rule in enumerate(checked.body.get("rules", []), 1):
        path = f"rules[{number}]"
        yield from _empty_matches(checked, f"{path}.match", rule["match"])
        if rule["action"] == RATE_LIMIT and "rl_param" not in rule:
            yield checked.error(
                f"{path}.rl_param", "is missing: the action is a rate limit (rl_param, then max_rate NUMBER)"
            )


def l4_rules_complete(checked: Checked) -> Iterator[Issue]:
    """A rule that selects names what it selects."""
    rules = checked.body.get("l4_connection_policy", {}).get("rules", [])
    for number, rule in enumerate(rules, 1):
        path = f"l4_connection_policy.rules[{number}]"
        yield from _empty_matches(checked, f"{path}.match", rule.get("match", {}))
        action = rule.get("action", {}).get("select_pool")
        needed = SELECTED[action["action_type"]] if action else ""
        if action and not action.get(needed):
            yield checked.error(
                f"{path}.action.select_pool", f"{needed} is missing: the action is {action['action_type']}"
            )


def _empty_matches(checked: Checked, path: str, match: Body) -> Iterator[Issue]:
    if "client_ip" in match and not any(match["client_ip"].get(name) for name in ADDRESS_LISTS):
        yield checked.error(
            f"{path}.client_ip",
            f"no addresses given (one of {', '.join(ADDRESS_LISTS)}); to match any client leave client_ip out",
        )
    for side, ranges in PORT_SIDES.items():
        if side in match and not (match[side].get("ports") or match[side].get(ranges)):
            yield checked.error(f"{path}.{side}", f"no ports given (ports NUMBER); to match any leave {side} out")
        for number, item in enumerate(match.get(side, {}).get(ranges, []), 1):
            if item["end"] < item["start"]:
                yield checked.error(
                    f"{path}.{side}.{ranges}[{number}]",
                    f"{item['start']}-{item['end']} runs backwards; exchange start and end",
                )

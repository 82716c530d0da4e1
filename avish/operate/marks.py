"""Whose a conntrack mark is."""

from __future__ import annotations

from avish.config.config import Config
from avish.config.ids import Ids, rule_of
from dataplane.model import NAT_MARK


def describe(config: Config, ids: Ids, mark: int) -> dict[str, str]:
    """{"rule": "policy/index name"} for the mark of a NAT rule, {"virtualservice": name} for that of a service."""
    if mark & NAT_MARK:
        key = ids.key_of("nat_rule", mark & ~NAT_MARK)
        return _rule(config, *rule_of(key)) if key else {}
    body = config.get("virtualservice", ids.key_of("service", mark) or "")
    return {"virtualservice": body["name"]} if body else {}


def _rule(config: Config, uuid: str, index: int) -> dict[str, str]:
    policy = config.get("natpolicy", uuid) or {}
    for rule in policy.get("rules", []):
        if rule["index"] == index:
            return {"rule": f"{policy['name']}/{index} {rule.get('name', '')}".rstrip()}
    return {}

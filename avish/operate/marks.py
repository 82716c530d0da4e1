"""Whose a conntrack mark is."""

from __future__ import annotations

from avish.config.config import Config
from avish.config.ids import Ids
from dataplane.model import NAT_MARK


def describe(config: Config, ids: Ids, mark: int) -> dict[str, str]:
    """{"rule": "policy/index name"} for the mark of a NAT rule, {"virtualservice": name} for that of a service."""
    if mark & NAT_MARK:
        return _rule(config, ids.key_of("nat_rule", mark & ~NAT_MARK) or "")
    body = config.get("virtualservice", ids.key_of("service", mark) or "")
    return {"virtualservice": body["name"]} if body else {}


def _rule(config: Config, key: str) -> dict[str, str]:
    uuid, _, index = key.rpartition("/")
    policy = config.get("natpolicy", uuid)
    for rule in policy.get("rules", []) if policy else []:
        if str(rule["index"]) == index:
            return {"rule": f"{policy['name'] if policy else ''}/{index} {rule.get('name', '')}".rstrip()}
    return {}

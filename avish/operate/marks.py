"""Whose a conntrack mark is, and whose a server."""

from __future__ import annotations

from collections.abc import Iterator

from avish.config.config import Body, Config
from avish.config.ids import Ids, rule_of
from dataplane.model import NAT_MARK


def describe(config: Config, ids: Ids, mark: int) -> dict[str, str]:
    """{"rule": "policy/index name"} for the mark of a NAT rule, {"virtualservice": name} for that of a service."""
    if mark & NAT_MARK:
        key = ids.key_of("nat_rule", mark & ~NAT_MARK)
        return _rule(config, *rule_of(key)) if key else {}
    body = config.get("virtualservice", ids.key_of("service", mark) or "")
    return {"virtualservice": body["name"]} if body else {}


def pool_of(config: Config, ids: Ids, mark: int, ip: str, port: int) -> str:
    """The name of the pool that a server belongs to, of a service's mark; of all pools for the mark 0. "" for none."""
    if mark & NAT_MARK:
        return ""
    service = config.get("virtualservice", ids.key_of("service", mark) or "") if mark else None
    pools = list(pools_of(config, service)) if service else list(config.all("pool")) if not mark else []
    found = [(pool, server) for pool in pools for server in pool.get("servers", []) if server["ip"]["addr"] == ip]
    exact = [pool["name"] for pool, server in found if _port(pool, server) == port]
    return next(iter(exact or [pool["name"] for pool, _ in found]), "")


def pools_of(config: Config, service: Body) -> Iterator[Body]:
    """The pools that a virtual service sends to by itself."""
    pool = config.target(service.get("pool_ref"))
    if pool is not None:
        yield pool
    group = config.target(service.get("pool_group_ref")) or {}
    for member in group.get("members", []):
        pool = config.target(member.get("pool_ref"))
        if pool is not None:
            yield pool


def _port(pool: Body, server: Body) -> int:
    return int(server.get("port") or pool.get("default_server_port", 80))


def _rule(config: Config, uuid: str, index: int) -> dict[str, str]:
    policy = config.get("natpolicy", uuid) or {}
    for rule in policy.get("rules", []):
        if rule["index"] == index:
            return {"rule": f"{policy['name']}/{index} {rule.get('name', '')}".rstrip()}
    return {}

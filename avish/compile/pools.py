"""A pool, or a pool group, as the servers a connection can go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import lcm

from avish.compile.limits import server_limits
from avish.compile.slots import Slot, Weighted, hashed, table_size, turns
from avish.config.config import Body, Config
from dataplane.model import NO_SERVER_LIMITS, Leaving, Persistence, Picker, ServerLimits

_HASH = "LB_ALGORITHM_CONSISTENT_HASH"
_SOURCE_AND_PORT = "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT"
_PICKERS: dict[str, Picker] = {
    "LB_ALGORITHM_ROUND_ROBIN": "round_robin",
    "LB_ALGORITHM_RANDOM": "random",
    "LB_ALGORITHM_LEAST_CONNECTIONS": "least_connections",
}
_RETURN = "ALLOW_NEW_CONNECTION_IF_PERSISTENCE_PRESENT"
_RECOVERY = {"HM_DOWN_ABORT_CONNECTION": "abort", "HM_DOWN_CONTINUE_PERSISTENT_SERVER": "insist"}
_MOST_TURNS = 2048
"""Slots of a pool group; finer ratios are rounded."""
_MOST_HASH_RATIO = 20


@dataclass(frozen=True, slots=True)
class Servers:
    """What a service, or a branch of one, is given; the fields are those of ``dataplane.model.Service``."""

    picker: Picker = "round_robin"
    slots: tuple[Slot, ...] = ()
    keep_port: bool = False
    leaving: tuple[Leaving, ...] = ()
    persistence: Persistence | None = None
    server_limits: ServerLimits = NO_SERVER_LIMITS
    reserve: tuple[tuple[Slot, ...], ...] = ()
    routed: bool = False
    pools: tuple[str, ...] = ()
    inline: bool = True


NO_SERVERS = Servers()


def servers_of(config: Config, pool_ref: str | None, group_ref: str | None) -> Servers:
    """Those of the pool; without a pool those of the pool group."""
    pool = config.target(pool_ref)
    if pool is not None:
        return _servers(config, pool, [[(pool, 1)]])
    tiers = _tiers(config, config.target(group_ref) or {})
    return _servers(config, tiers[0][0][0], tiers) if tiers else NO_SERVERS


def _servers(config: Config, first: Body, tiers: list[list[tuple[Body, int]]]) -> Servers:
    """Of pools in tiers, each with its ratio; what is not said for each server is as ``first`` says."""
    picker = picker_of(first)
    slots = [_slots(picker, tier) for tier in tiers]
    filled = [table for table in slots if table]
    pools = [pool for tier in tiers for pool, _ in tier]
    persistence = _persistence(config, first)
    return Servers(
        picker,
        filled[0] if filled else (),
        keep_port=bool(first.get("use_service_port")),
        leaving=tuple(one for pool in pools for one in _leaving(pool, bound=persistence is not None)),
        persistence=persistence,
        server_limits=server_limits(first),
        reserve=tuple(filled[1:]),
        routed=bool(first.get("routing_pool")),
        pools=tuple(pool["uuid"] for pool in pools),
        inline=bool(first.get("inline_health_monitor", True)),
    )


def picker_of(pool: Body) -> Picker:
    """How a server is chosen. What the kernel has no word for is refused before it comes here."""
    algorithm = pool.get("lb_algorithm", "")
    if algorithm == _HASH:
        return "source_port_hash" if pool.get("lb_algorithm_hash") == _SOURCE_AND_PORT else "source_hash"
    return _PICKERS.get(algorithm, "round_robin")


def _tiers(config: Config, group: Body) -> list[list[tuple[Body, int]]]:
    """The pools of a group with their ratios, the highest priority first; those without enough servers come last."""
    found: dict[int, list[tuple[Body, int]]] = {}
    for member in group.get("members", []):
        pool = config.target(member["pool_ref"])
        if pool is not None and member.get("ratio", 1):
            found.setdefault(_priority(member), []).append((pool, member.get("ratio", 1)))
    ordered = [found[key] for key in sorted(found, reverse=True)]
    least = max(1, group.get("min_servers", 0))
    return sorted(ordered, key=lambda tier: sum(len(_enabled(pool)) for pool, _ in tier) < least)


def _priority(member: Body) -> int:
    label = member.get("priority_label", "")
    return int(label) if label.isdecimal() else 0


def _enabled(pool: Body) -> list[Weighted]:
    return [_weighted(pool, server) for server in pool.get("servers", []) if _in_use(pool, server)]


def _in_use(pool: Body, server: Body) -> bool:
    return bool(pool.get("enabled", True) and server.get("enabled", True))


def _weighted(pool: Body, server: Body) -> Weighted:
    return Weighted(server["ip"]["addr"], _port(pool, server), server.get("ratio", 1))


def _port(pool: Body, server: Body) -> int:
    return int(server.get("port") or pool.get("default_server_port", 80))


def _slots(picker: Picker, tier: list[tuple[Body, int]]) -> tuple[Slot, ...]:
    servers = _joined([(_enabled(pool), ratio) for pool, ratio in tier])
    if picker in ("source_hash", "source_port_hash"):
        every = sum(len(pool.get("servers", [])) for pool, _ in tier)
        return hashed(_at_most(servers, _MOST_HASH_RATIO), table_size(every))
    return turns(servers)


def _joined(parts: list[tuple[list[Weighted], int]]) -> list[Weighted]:
    """The servers of pools that share by ratio, each with its part of the share of its pool."""
    parts = [(servers, ratio) for servers, ratio in parts if servers]
    if len(parts) <= 1:
        return parts[0][0] if parts else []
    sums = [sum(one.ratio for one in servers) for servers, _ in parts]
    whole = lcm(*sums)
    joined = [
        Weighted(one.ip, one.port, one.ratio * ratio * (whole // total))
        for (servers, ratio), total in zip(parts, sums, strict=True)
        for one in servers
    ]
    total = sum(one.ratio for one in joined)
    return joined if total <= _MOST_TURNS else _at_most(joined, max(1, _MOST_TURNS // len(joined)))


def _at_most(servers: Sequence[Weighted], most: int) -> list[Weighted]:
    """With ratios of at most ``most``, in proportion."""
    highest = max((one.ratio for one in servers), default=1)
    if highest <= most:
        return list(servers)
    return [Weighted(one.ip, one.port, max(1, round(one.ratio * most / highest))) for one in servers]


def _leaving(pool: Body, *, bound: bool) -> Iterator[Leaving]:
    """Servers that are switched off: what they have goes on for a while."""
    minutes = pool.get("graceful_disable_timeout", 1)
    returning = bound and pool.get("server_disable_type") == _RETURN
    for server in pool.get("servers", []):
        if not _in_use(pool, server):
            yield Leaving(server["ip"]["addr"], _port(pool, server), max(-1, minutes * 60), returning)


def _persistence(config: Config, pool: Body) -> Persistence | None:
    """By client address, or none."""
    profile = config.target(pool.get("application_persistence_profile_ref"))
    if profile is None or not profile["persistence_type"].startswith("PERSISTENCE_TYPE_CLIENT_IP"):
        return None
    settings = profile.get("ip_persistence_profile", {})
    seconds = settings.get("ip_persistent_timeout", 5) * 60
    recovery = profile.get("server_hm_down_recovery", "")
    match _RECOVERY.get(recovery):
        case "abort":
            return Persistence(settings.get("ip_mask", 128), seconds, "abort")
        case "insist":
            return Persistence(settings.get("ip_mask", 128), seconds, "insist")
        case _:
            return Persistence(settings.get("ip_mask", 128), seconds)

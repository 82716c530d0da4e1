"""What health makes of the services: those that configuration asks for, without the servers that are not up. Pure.

Only servers of pools that are watched count; the others are always used. ``up`` gives the usable servers by key of the
pool; a watched pool that is not in it has none yet. ``cut`` gives, by number of the service, the servers that fail the
connections of clients: at level 1 they get a quarter of their share, at level 2 nothing while there is another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar

from dataplane.diff import Plan, Step
from dataplane.health_model import Watch
from dataplane.model import Branch, Leaving, Service, SeState

Server = tuple[str, int]
Up = Mapping[str, frozenset[Server]]
C = TypeVar("C", Service, Branch)
HASHES = ("source_hash", "source_port_hash")
Cut = Mapping[int, Mapping[Server, int]]
NO_CUT: Cut = {}
REDUCED, OUT = 1, 2
SHARE = 4
"""A server that is cut gets one part in so many of its share."""
_MOST_SLOTS = 512
"""More of them are thinned out instead of multiplied."""


def effective_state(state: SeState, up: Up, cut: Cut = NO_CUT) -> SeState:
    """The whole state; itself when nothing is watched."""
    if not state.pools and not cut:
        return state
    return replace(state, services={key: effective(one, state.pools, up, cut) for key, one in state.services.items()})


def effective(service: Service, pools: Mapping[str, Watch], up: Up, cut: Cut = NO_CUT) -> Service:
    """A service without the servers that are down; their open connections may go on. Itself when all are up."""
    cuts = cut.get(service.id, {})
    down = frozenset(
        server
        for pool in service.pools
        if (watch := pools.get(pool)) is not None
        for server in set(watch.servers) - up.get(pool, frozenset())
    )
    if not down and not cuts:
        return service
    insists = service.persistence is not None and service.persistence.recovery == "insist"
    branches = tuple(_choice(branch, down, cuts, insists=False) for branch in service.branches)
    found = _choice(service, down, cuts, insists=insists)
    return found if branches == service.branches else replace(found, branches=branches)


def _choice(choice: C, down: frozenset[Server], cuts: Mapping[Server, int], *, insists: bool) -> C:
    """The first tier with a server that is up; what is open to the others goes on."""
    tiers = [choice.slots, *choice.reserve]
    if down.isdisjoint(tiers[0]) and cuts.keys().isdisjoint(tiers[0]):
        return choice
    out = down | {server for server, level in cuts.items() if level == OUT}
    if out.issuperset(tiers[0]):  # connections are never a reason to use none
        out = down
    left = (slots_without(choice.picker, tier, out) for tier in tiers)
    slots = _eased(choice.picker, next((tier for tier in left if tier), ()), cuts.keys() - out)
    known = {(one.ip, one.port) for one in choice.leaving} | set(slots)
    others = dict.fromkeys(server for tier in tiers for server in tier if server not in known)
    leaving = tuple(Leaving(ip, port, -1, returning=insists and (ip, port) in down) for ip, port in others)
    return replace(choice, slots=slots, leaving=choice.leaving + leaving)


def slots_without(picker: str, slots: tuple[Server, ...], down: frozenset[Server]) -> tuple[Server, ...]:
    """Without some servers. In a table that is hashed into, the slots of the servers that stay stay where they are."""
    left = tuple(server for server in slots if server not in down)
    if picker not in HASHES or not left:
        return left
    others = tuple(dict.fromkeys(left))
    return tuple(_stand_in(number, others, one) if one in down else one for number, one in enumerate(slots))


def _eased(picker: str, slots: tuple[Server, ...], less: AbstractSet[Server]) -> tuple[Server, ...]:
    """Slots in which some servers have a part of their share; the same ones when there are no others."""
    others = tuple(dict.fromkeys(server for server in slots if server not in less))
    if not others or less.isdisjoint(slots):
        return slots
    if picker in HASHES or len(slots) > _MOST_SLOTS:
        seen: Counter[Server] = Counter()
        return tuple(_thinned(number, others, one, less, seen) for number, one in enumerate(slots))
    counts = Counter(slots)
    turns = {server: count if server in less else count * SHARE for server, count in counts.items()}
    spread = sorted(
        ((2 * turn + 1) / count, place) for place, count in enumerate(turns.values()) for turn in range(count)
    )
    names = tuple(turns)
    return tuple(names[place] for _, place in spread)


def _thinned(
    slot: int, others: tuple[Server, ...], server: Server, less: AbstractSet[Server], seen: Counter[Server]
) -> Server:
    """Every fourth slot of a server that is cut stays its own."""
    if server not in less:
        return server
    seen[server] += 1
    return server if seen[server] % SHARE == 1 else _stand_in(slot, others, server)


def _stand_in(slot: int, others: tuple[Server, ...], lost: Server) -> Server:
    """A server of the same IP version for a slot, the same one whenever that is asked."""
    same = [one for one in others if (":" in one[0]) == (":" in lost[0])] or list(others)
    return max(same, key=lambda one: blake2b(f"{slot} {one[0]} {one[1]}".encode(), digest_size=8).digest())


def effective_plan(plan: Plan, held: SeState, target: SeState, shown: SeState, up: Up, cut: Cut = NO_CUT) -> Plan:
    """The steps that take the kernel from ``shown`` (the effective ``held``) to the effective ``target``."""
    numbers = {step.key for step in plan if step.table == "services"}
    pools = {step.key for step in plan if step.table == "pools"}
    if pools:
        numbers |= users(held.services, pools) | users(target.services, pools)
    rest = [step for step in plan if step.table != "services"]
    steps = [*rest, *_service_steps(numbers, target, shown, up, cut)]
    return tuple(sorted(steps, key=lambda step: step.rank))


def flip_plan(held: SeState, shown: SeState, pools: Iterable[str], up: Up, cut: Cut = NO_CUT) -> Plan:
    """The steps after the health of servers in ``pools`` has changed."""
    return tuple(_service_steps(users(held.services, set(pools)), held, shown, up, cut))


def cut_plan(held: SeState, shown: SeState, numbers: Iterable[int], up: Up, cut: Cut) -> Plan:
    """The steps after what connections say of the servers of these services has changed."""
    return tuple(_service_steps(numbers, held, shown, up, cut))


def users(services: Mapping[int, Service], pools: set[str]) -> set[int]:
    """The numbers of the services that have servers of these pools."""
    return {number for number, service in services.items() if not pools.isdisjoint(service.pools)}


def _service_steps(numbers: Iterable[int], target: SeState, shown: SeState, up: Up, cut: Cut) -> list[Step]:
    steps = []
    for number in sorted(numbers):
        old, wanted = shown.services.get(number), target.services.get(number)
        new = effective(wanted, target.pools, up, cut) if wanted is not None else None
        if new is not None and new != old:
            steps.append(Step("put", "services", number, old, new))
        elif new is None and old is not None:
            steps.append(Step("drop", "services", number, old, None))
    return steps

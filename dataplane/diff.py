"""From one SeState to another, as steps whose rank orders them. Pure; cost follows the change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress
from operator import is_not
from typing import Any, Literal, TypeVar

from dataplane.model import TABLES, SeState

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Step:
    """Put ``new`` under ``key`` of ``table``, or drop what is there. ``old``: what was there, None if nothing was."""

    op: Literal["put", "drop"]
    table: str
    key: Any
    old: Any
    new: Any

    @property
    def rank(self) -> int:
        """Puts in the order of TABLES, then drops in reverse: nothing is used before it exists or after it is gone."""
        place = TABLES.index(self.table)
        return place if self.op == "put" else 2 * len(TABLES) - place


Plan = tuple[Step, ...]


def diff(old: SeState, new: SeState) -> Plan:
    """The steps from ``old`` to ``new``, in rank order; empty when they are equal."""
    steps = [step for table in TABLES for step in _table_steps(table, getattr(old, table), getattr(new, table))]
    return tuple(sorted(steps, key=lambda step: step.rank))


def _table_steps(table: str, old: Any, new: Any) -> list[Step]:
    if old is new:
        return []
    other, gone = moved(old, new)
    puts = [Step("put", table, key, old.get(key), new[key]) for key in other if old.get(key) != new[key]]
    drops = [Step("drop", table, key, old[key], None) for key in gone]
    return puts + drops


def moved(old: Mapping[K, Any], new: Mapping[K, Any]) -> tuple[list[K], list[K]]:
    """Keys of ``new`` whose value is not the same object in ``old``, and keys of ``old`` that ``new`` has not.

    Tables of 10,000 entries of which one differs are the usual case: the loop runs inside the interpreter.
    """
    other = list(compress(new, map(is_not, map(old.get, new), new.values())))
    kept = len(new) - sum(key not in old for key in other)
    return other, [key for key in old if key not in new] if kept != len(old) else []


def applied(state: SeState, plan: Plan) -> SeState:
    """The state that ``plan`` leads to from ``state``."""
    tables = {table: dict(getattr(state, table)) for table in {step.table for step in plan}}
    for step in plan:
        if step.op == "put":
            tables[step.table][step.key] = step.new
        else:
            tables[step.table].pop(step.key, None)
    return SeState(**{table: tables.get(table, getattr(state, table)) for table in TABLES})


def reverse(plan: Plan) -> Plan:
    """The plan that undoes ``plan``."""
    steps = [
        Step("drop", s.table, s.key, s.new, None) if s.old is None else Step("put", s.table, s.key, s.new, s.old)
        for s in plan
    ]
    return tuple(sorted(steps, key=lambda step: step.rank))

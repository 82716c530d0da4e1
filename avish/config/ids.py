"""Small stable numbers: a virtual service or NAT rule is its number in the kernel, an engine's number is its rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Kind = Literal["service", "nat_rule", "engine", "vmac"]
Key = tuple[Kind, str]


@dataclass(frozen=True)
class Ids:
    """Numbers by kind and key, from 1, never given twice.

    Keys: the uuid of the virtual service ("service"), service engine ("engine") or network service with a virtual MAC
    ("vmac"), ``rule_key`` ("nat_rule").
    """

    numbers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def get(self, kind: Kind, key: str) -> int | None:
        """The number, or None."""
        return self.numbers.get(kind, {}).get(key)

    def key_of(self, kind: Kind, number: int) -> str | None:
        """Whose number it is, or None."""
        return self._reverse.get((kind, number))

    def with_keys(self, keys: Iterable[Key]) -> Ids:
        """Ids in which each of ``keys`` has a number; self when all have."""
        fresh = [(kind, key) for kind, key in dict.fromkeys(keys) if self.get(kind, key) is None]
        if not fresh:
            return self
        numbers = {kind: dict(known) for kind, known in self.numbers.items()}
        for kind, key in fresh:
            known = numbers.setdefault(kind, {})
            known[key] = len(known) + 1
        return Ids(numbers)

    def beyond(self, older: Ids) -> list[tuple[str, str, int]]:
        """(kind, key, number) of what ``older`` does not know."""
        return [
            (kind, key, number)
            for kind, known in self.numbers.items()
            if known is not older.numbers.get(kind)
            for key, number in known.items()
            if key not in older.numbers.get(kind, {})
        ]

    @cached_property
    def _reverse(self) -> dict[tuple[str, int], str]:
        return {(kind, number): key for kind, known in self.numbers.items() for key, number in known.items()}


def rule_key(policy: str, index: int) -> str:
    """What the number of a NAT rule is kept under: the uuid of its policy, and its index there."""
    return f"{policy}/{index}"


def rule_of(key: str) -> tuple[str, int]:
    """Uuid of the policy and index: the inverse of ``rule_key``."""
    policy, _, index = key.rpartition("/")
    return policy, int(index)

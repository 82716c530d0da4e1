"""Filters of roles: which objects a role's rights are about, by the labels (``markers``) that objects carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from avish.config.config import Body
from avish.schema.model import Schema

ALL = "*"
"""In place of a tenant: every one."""
MARKERS = "markers"
STANDS_IN = {"PERMISSION_NETWORKSERVICE": "PERMISSION_SERVICEENGINEGROUP"}
"""What counts where a role says nothing of a permission: the predefined ones leave it out."""
GLOB, NOT = "GLOB", "NOT"


@dataclass(frozen=True, slots=True)
class Filter:
    """A label, the values that are looked for (none: any), and how."""

    key: str
    values: tuple[str, ...]
    operation: str

    def passes(self, values: list[str]) -> bool:
        """Whether one that carries the label with ``values`` gets through."""
        words = self.operation.split("_")
        fits = fnmatchcase if GLOB in words else str.__eq__
        found = not self.values or any(fits(one, wanted) for one in values for wanted in self.values)
        return found != (NOT in words)

    def __str__(self) -> str:
        word = self.operation.removeprefix("ROLE_FILTER_").lower()
        return f"{self.key} {word} {', '.join(self.values) or 'any'}"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role gives in a tenant (uuid, or "*"). ``unlabelled``: also for objects without its labels."""

    tenant: str
    levels: Mapping[str, int] = field(default_factory=dict)
    filters: tuple[Filter, ...] = ()
    unlabelled: bool = True

    def covers(self, body: Mapping[str, Any]) -> bool:
        """Whether it is about an object; all filters must let that through."""
        carried: dict[str, list[str]] = {}
        for marker in body.get(MARKERS, ()):
            carried.setdefault(str(marker.get("key")), []).extend(marker.get("values", ()))
        return all(one.passes(carried[one.key]) if one.key in carried else self.unlabelled for one in self.filters)

    def holds(self, other: Grant) -> bool:
        """Whether it is about every object that another one is about, as far as filters tell."""
        return set(self.filters) <= set(other.filters) and (self.unlabelled or not other.unlabelled)

    def level(self, wanted: str) -> int:
        """What it gives of a permission."""
        return level_in(self.levels, wanted)


def level_in(table: Mapping[str, int], wanted: str) -> int:
    """The level of a permission in a table of levels; 0: none."""
    return table.get(wanted, table.get(STANDS_IN.get(wanted, ""), 0))


def filters_of(role: Body) -> tuple[Filter, ...]:
    """Those of a role that are in force."""
    found = []
    for one in role.get("filters", []):
        label = one.get("match_label", {})
        if one.get("enabled", True):
            operation = str(one.get("match_operation", "ROLE_FILTER_EQUALS"))
            found.append(Filter(str(label.get("key", "")), tuple(label.get("values", [])), operation))
    return tuple(found)


def labelled(schema: Schema, kind: str) -> bool:
    """Whether objects of a type carry labels at all; filters say nothing of others."""
    return MARKERS in schema.object(kind).fields

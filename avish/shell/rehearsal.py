"""A dry run: the writes of the lines so far, sent as one transaction that is thrown away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A write that was only rehearsed; ``body``: None for a delete."""

    type: str
    name: str
    method: str
    path: str
    body: Body | None = None

    @property
    def request(self) -> dict[str, Any]:
        """As POST /api/transaction takes it."""
        request = {"method": self.method, "path": self.path}
        return request if self.body is None else {**request, "body": self.body}


@dataclass(slots=True)
class Rehearsal:
    """The steps so far; ``told``: what was said of them already: each answer is about all of them."""

    steps: list[Step] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    def find(self, object_type: str, name: str) -> Step | None:
        """The last step that decided about an object."""
        return next((s for s in reversed(self.steps) if (s.type, s.name) == (object_type, name)), None)

    def fresh(self, lines: list[str]) -> list[str]:
        """The lines that were not told before."""
        fresh = [line for line in lines if line not in self.told]
        self.told.update(lines)
        return fresh

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
    """The steps so far; ``told``: the kernel steps that were printed already."""

    steps: list[Step] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    def find(self, object_type: str, name: str) -> Step | None:
        """The last step that decided about an object."""
        return next((s for s in reversed(self.steps) if (s.type, s.name) == (object_type, name)), None)

    def with_step(self, step: Step) -> list[Step]:
        """The steps and one more. An object made in the dry run has no uuid yet: changing it changes the step that
        makes it, deleting it takes that step away.
        """
        made = self.find(step.type, step.name)
        if made is None or made.method != "POST":
            return [*self.steps, step]
        changed = [] if step.body is None else [Step(made.type, made.name, "POST", made.path, step.body)]
        at = self.steps.index(made)
        return [*self.steps[:at], *changed, *self.steps[at + 1 :]]

    def fresh(self, engine: str, kernel_steps: list[str]) -> list[str]:
        """The kernel steps of an engine that were not told before, as lines."""
        lines = [f"  {engine}: {step}" for step in kernel_steps]
        fresh = [line for line in lines if line not in self.told]
        self.told.update(lines)
        return fresh

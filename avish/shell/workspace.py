"""Changes of many objects that wait to be committed together: those of ``configure session`` and of a dry run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A write that waits. ``body``: None for a delete. ``word``: the object type as operators call it."""

    type: str
    word: str
    name: str
    method: str
    path: str
    body: Body | None = None
    base: Body | None = None
    """The object as it was read."""

    @property
    def request(self) -> dict[str, Any]:
        """As POST /api/transaction takes it."""
        request = {"method": self.method, "path": self.path}
        return request if self.body is None else {**request, "body": self.body}

    @property
    def place(self) -> str:
        """How it is called in texts."""
        return f"{self.word} {self.name}"


@dataclass(slots=True)
class Workspace:
    """The steps so far. ``token``: the controller's candidate behind them (a dry run), "" when it has none.

    ``stale``: somebody else has saved one of the objects since it was read.
    """

    name: str = ""
    steps: list[Step] = field(default_factory=list)
    token: str = ""
    stale: bool = False
    told: set[str] = field(default_factory=set)

    def find(self, object_type: str, name: str) -> Step | None:
        """The step that decides about an object."""
        return next((s for s in reversed(self.steps) if (s.type, s.name) == (object_type, name)), None)

    def add(self, step: Step) -> None:
        """One more; it takes the place of an earlier one about the same object."""
        before = self.find(step.type, step.name)
        if before is None:
            self.steps.append(step)
            return
        place = self.steps.index(before)
        if before.method == "POST" and step.body is None:
            del self.steps[place]
        elif before.method == "POST":
            self.steps[place] = replace(step, method="POST", path=before.path)
        else:
            self.steps[place] = replace(step, base=before.base)

    def names(self, object_type: str) -> tuple[list[str], list[str]]:
        """The names of objects of a type that the steps add, and those they take away."""
        mine = {s.name: s.body is not None for s in self.steps if s.type == object_type}
        return [n for n, there in mine.items() if there], [n for n, there in mine.items() if not there]

    def fresh(self, lines: list[str]) -> list[str]:
        """The lines that were not told before."""
        fresh = [line for line in lines if line not in self.told]
        self.told.update(lines)
        return fresh

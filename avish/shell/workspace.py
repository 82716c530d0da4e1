"""Changes of many objects that wait to be committed together: those of ``configure session`` and of a dry run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Body = dict[str, Any]


STAMP = "_last_modified"


@dataclass(frozen=True, slots=True)
class Step:
    """A write that waits. ``body``: None for a delete. ``word``: the object type as operators call it.

    ``tenant``: where it was typed.
    """

    type: str
    word: str
    name: str
    method: str
    path: str
    body: Body | None = None
    base: Body | None = None
    """The object as it was read."""
    tenant: str = ""

    @property
    def sent(self) -> Body | None:
        """The body of the request. A delete sends which state of the object was seen."""
        if self.body is not None or self.base is None or STAMP not in self.base:
            return self.body
        return {STAMP: self.base[STAMP]}

    @property
    def request(self) -> dict[str, Any]:
        """As POST /api/transaction takes it."""
        request = {"method": self.method, "path": self.path}
        return request if self.sent is None else {**request, "body": self.sent}

    @property
    def place(self) -> str:
        """How it is called in texts."""
        return f"{self.word} {self.name}".rstrip()

    @property
    def before(self) -> str:
        """The name under which the object was read."""
        return self.name if self.base is None else str(self.base.get("name", self.name))

    def behind(self, first: Step) -> Step:
        """The two writes of one object as one: what is stored, or was seen of it, the first one knows."""
        if first.method == "POST":
            return replace(self, method="POST", path=first.path, base=None)
        body = self.body
        if body is not None and first.base is not None:  # deleted and made again: it stays the object that others know
            body = {**body, **{key: first.base[key] for key in ("uuid", STAMP) if key in first.base}}
        return replace(self, method="DELETE" if body is None else "PUT", path=first.path, body=body, base=first.base)


@dataclass(slots=True)
class Workspace:
    """The steps so far. ``token``: the controller's candidate behind them (a dry run), "" when it has none.

    ``tenant``: where a session began. ``stale``: somebody else has saved one of the objects since it was read.
    """

    name: str = ""
    steps: list[Step] = field(default_factory=list)
    token: str = ""
    tenant: str = ""
    stale: bool = False
    told: set[str] = field(default_factory=set)
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    """Of the steps in the list: by type and path (what is stored) and by type and name, the present and the old one."""

    def find(self, object_type: str, name: str) -> Step | None:
        """The step that decides about an object, also under the name it had before."""
        place = self._places.get((object_type, name))
        return None if place is None else self.steps[place]

    def add(self, step: Step) -> None:
        """One more; it takes the place of an earlier one about the same object."""
        place = self._place(step)
        if place is None:
            self.steps.append(step)
            self._mark(len(self.steps) - 1)
            return
        first = self.steps[place]
        if first.method == "POST" and step.body is None:
            self.replace([*self.steps[:place], *self.steps[place + 1 :]])
            return
        self.steps[place] = step.behind(first)
        if step.name != first.name:
            self.replace(self.steps)

    def _place(self, step: Step) -> int | None:
        """Where the step about the same object is; a new object is that of a deletion, or none of those here."""
        place = self._places.get((step.type, step.path), self._places.get((step.type, step.before)))
        taken = place is not None and step.method == "POST" and self.steps[place].body is not None
        return None if taken else place

    def replace(self, steps: list[Step]) -> None:
        """Other steps in the place of all."""
        self.steps = steps
        self._places.clear()
        for place in range(len(steps)):
            self._mark(place)

    def _mark(self, place: int) -> None:
        step = self.steps[place]
        if step.method != "POST":
            self._places[step.type, step.path] = place
            self._places.setdefault((step.type, step.before), place)
        self._places[step.type, step.name] = place

    def names(self, object_type: str) -> tuple[list[str], list[str]]:
        """The names of objects of a type that the steps add, and those they take away."""
        mine = [step for step in self.steps if step.type == object_type]
        there = [step.name for step in mine if step.body is not None]
        return there, [name for step in mine for name in (step.before, step.name) if name not in there]

    def fresh(self, lines: list[str]) -> list[str]:
        """The lines that were not told before."""
        fresh = [line for line in lines if line not in self.told]
        self.told.update(lines)
        return fresh

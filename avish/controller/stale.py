"""Why a change is refused: all its errors at once; of what others changed meanwhile, who did it, what, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

from avish.config.config import Config, title
from avish.config.store import Store
from avish.config.transaction import Conflict, Prepared
from avish.controller.compare import Difference, Names, differences, in_words, names_in
from avish.controller.notices import iso, moment
from avish.errors import ConflictError, Issue, ValidationError
from avish.schema.model import Schema


class StaleError(ConflictError):
    """A write over what others changed. ``issues``: all that is wrong; ``conflicts``: as in the answer."""

    def __init__(self, issues: list[Issue], conflicts: list[dict[str, Any]]) -> None:
        super().__init__("\n".join(map(str, issues)))
        self.issues = issues
        self.conflicts = conflicts


def refuse(schema: Schema, store: Store, config: Config, prepared: Prepared) -> NoReturn:
    """Raise what is wrong with a prepared change to ``config``."""
    if not prepared.conflicts:
        raise ValidationError(prepared.errors, status=prepared.status)
    described = {one.request: _describe(schema, store, config, one) for one in prepared.conflicts}
    issues = [
        replace(issue, text=described[issue.request].text) if issue.request in described else issue
        for issue in prepared.errors
    ]
    raise StaleError(issues, [one.body for one in described.values()])


@dataclass(frozen=True, slots=True)
class _Described:
    text: str
    body: dict[str, Any]


def _describe(schema: Schema, store: Store, config: Config, conflict: Conflict) -> _Described:
    """The text behind the object's name, and the conflict as the answer carries it."""
    known = conflict.present or store.latest(conflict.uuid) or {"uuid": conflict.uuid, "name": ""}
    what = title(conflict.type, known)
    done = "changed" if conflict.present else "deleted"
    changes = _changes(schema, store, config, conflict)
    last = store.last_change(conflict.uuid)
    user, time = last or ("", 0.0)
    by = f"by {user} at {moment(time)}, after you read it" if last else "since you read it"
    fields = f": {in_words(changes)}" if changes else ""
    body = {
        "request": conflict.request,
        "type": conflict.type,
        "name": known.get("name", ""),
        "user": user,
        "time": iso(time) if last else "",
        "changes": changes,
    }
    return _Described(f"{what} was {done} {by}{fields}; read it again and repeat your change", body)


def _changes(schema: Schema, store: Store, config: Config, conflict: Conflict) -> list[Difference]:
    """From what the writer read to what is there; empty when either cannot be told."""
    seen = store.latest(conflict.uuid, conflict.seen) if conflict.seen else None
    if seen is None or conflict.present is None:
        return []
    name = names_in(config)
    return differences(schema.object(conflict.type), seen, conflict.present, Names(name, name))

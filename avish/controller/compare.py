"""What differs between two states of objects, told by the grammar: fields with their paths, names for references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from avish.config.config import Body, Config, uuid_in
from avish.config.normalise import HOMES
from avish.config.store import Store
from avish.schema.model import Field, Message, ObjectType, Schema
from avish.schema.types import SENSITIVE, Ref, Secret, ref_name
from dataplane.diff import moved

Difference = dict[str, Any]
"""{"field": "servers[2].ratio", "old": .., "new": ..}; None where there is nothing. Lists are numbered from 1."""
Name = Callable[[str], str]
"""From a stored reference to the name of what it leads to."""

UNTOLD = ("uuid", "_last_modified")
"""Fields of an object that are the controller's own."""
HOME_NAMES = {field: name for field, _, name in HOMES}
CHANGES_TOLD = 8
"""Of a conflict; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An object on both sides; None: it is not there."""

    type: str
    uuid: str
    old: Body | None
    new: Body | None


@dataclass(frozen=True, slots=True)
class Names:
    """How references are named on either side of a comparison."""

    old: Name
    new: Name


def names_in(config: Config) -> Name:
    """Names as they are in a configuration."""

    def name(ref: str) -> str:
        target = config.target(ref)
        return ref_name(ref) if target is None else str(target.get("name", target["uuid"]))

    return name


def names_at(store: Store, revision: int) -> Name:
    """Names as they were at a revision."""

    @cache
    def name(ref: str) -> str:
        target = store.body_at(uuid_in(ref), revision) if ref.startswith("/api/") else None
        return ref_name(ref) if target is None else str(target.get("name", target["uuid"]))

    return name


def stored_pairs(store: Store, start: int, end: int) -> list[Pair]:
    """The objects that may differ between two revisions. KeyError when there is no such revision."""
    before = {change.uuid: change.body for change in store.changes(end, start)}
    return [Pair(c.type, c.uuid, before.get(c.uuid), c.body) for c in store.changes(start, end)]


def config_pairs(old: Config, new: Config) -> Iterator[Pair]:
    """The objects that may differ between two configurations; cheap where one was made from the other."""
    for kind in dict.fromkeys([*old.types(), *new.types()]):
        before, after = old.table(kind), new.table(kind)
        if before is not after:
            other, gone = moved(before, after)
            for uuid in [*other, *gone]:
                yield Pair(kind, uuid, before.get(uuid), after.get(uuid))


def object_differences(schema: Schema, pairs: Iterable[Pair], names: Names) -> list[dict[str, Any]]:
    """[{"action": "create|update|delete", "type", "uuid", "name", "changes": [Difference]}] of those that do differ."""
    return [told for pair in pairs if (told := _object(schema, pair, names)) is not None]


def _object(schema: Schema, pair: Pair, names: Names) -> dict[str, Any] | None:
    body = pair.new or pair.old
    if body is None:
        return None
    changes = differences(schema.object(pair.type), pair.old, pair.new, names)
    action = "delete" if pair.new is None else "create" if pair.old is None else "update"
    if action == "update" and not changes:
        return None
    return {
        "action": action,
        "type": pair.type,
        "uuid": pair.uuid,
        "name": body.get("name", ""),
        "changes": changes,
    }


def differences(kind: ObjectType, old: Body | None, new: Body | None, names: Names) -> list[Difference]:
    """What differs between two states of an object; of one that comes or goes, all that is not at its default."""
    work = _Work(names)
    if old is not None and new is not None:
        return list(work.message(kind, old, new, "", UNTOLD))
    one = work.brief(kind, old or new or {}, names.new if old is None else names.old)
    return [
        {"field": path, "old": None, "new": value} if old is None else {"field": path, "old": value, "new": None}
        for name, whole in one.items()
        if name not in UNTOLD
        for path, value in _entries(kind.fields.get(name), name, whole)
    ]


def _entries(field: Field | None, name: str, value: Any) -> list[tuple[str, Any]]:
    """The elements of a list of messages one by one, anything else whole."""
    if field is None or not field.list or field.message is None:
        return [(name, value)]
    return [(f"{name}[{number}]", one) for number, one in enumerate(value, 1)]


@dataclass(frozen=True, slots=True)
class _Work:
    names: Names

    def message(
        self, message: Message, old: Body, new: Body, path: str, untold: tuple[str, ...] = ()
    ) -> Iterator[Difference]:
        for name in dict.fromkeys([*message.fields, *old, *new]):
            before, after = old.get(name), new.get(name)
            if before != after and name not in untold:
                place = f"{path}.{name}" if path else name
                yield from self._field(message.fields.get(name), before, after, place)

    def _field(self, field: Field | None, old: Any, new: Any, path: str) -> Iterator[Difference]:
        if field is not None and field.message is not None:
            if field.list:
                yield from self._elements(field.message, old or [], new or [], path)
                return
            if old is not None and new is not None:
                yield from self.message(field.message, old, new, path)
                return
        yield {"field": path, "old": self._side(field, old, self.names.old), "new": self._new(field, new)}

    def _elements(self, message: Message, old: list[Body], new: list[Body], path: str) -> Iterator[Difference]:
        """Elements are the same when their keys are; without keys, when they stand at the same place."""
        before, after = _keyed(message, old), _keyed(message, new)
        for key, (number, body) in after.items():
            place = f"{path}[{number}]"
            if key in before:
                yield from self.message(message, before[key][1], body, place)
            else:
                yield {"field": place, "old": None, "new": self.brief(message, body, self.names.new)}
        for key, (number, body) in before.items():
            if key not in after:
                yield {"field": f"{path}[{number}]", "old": self.brief(message, body, self.names.old), "new": None}
        kept, now = [key for key in before if key in after], [key for key in after if key in before]
        if kept != now:
            yield {"field": f"{path} (order)", "old": _places(kept, before), "new": _places(now, before)}

    def brief(self, message: Message, body: Body, name: Name) -> Body:
        """A message as it is shown: without what is at its default, or where it is at home."""
        shown = {key: self._side(message.fields.get(key), value, name) for key, value in body.items()}
        usual = {
            key
            for key, value in shown.items()
            if key in message.fields and message.fields[key].default in (body[key], value)
        }
        return {
            key: value
            for key, value in shown.items()
            if key not in usual and (key not in HOME_NAMES or HOME_NAMES[key] != value)
        }

    def _new(self, field: Field | None, value: Any) -> Any:
        return self._side(field, value, self.names.new)

    def _side(self, field: Field | None, value: Any, name: Name) -> Any:
        if value is None or field is None:
            return value
        if field.list:
            return [self._one(field, item, name) for item in value]
        return self._one(field, value, name)

    def _one(self, field: Field, value: Any, name: Name) -> Any:
        if field.message is not None:
            return self.brief(field.message, value, name)
        if isinstance(field.type, Secret):
            return SENSITIVE
        if isinstance(field.type, Ref):
            return name(value)
        return field.leaf.format(value) if isinstance(value, dict) else value


def _keyed(message: Message, items: list[Body]) -> dict[Any, tuple[int, Body]]:
    """By what tells an element from the others, (its number, the element)."""
    keys = [repr([item.get(name) for name in message.key]) for item in items]
    if not message.key or len(set(keys)) < len(keys):
        return dict(enumerate(enumerate(items, 1)))
    return dict(zip(keys, enumerate(items, 1), strict=True))


def _places(keys: Iterable[Any], before: dict[Any, tuple[int, Body]]) -> list[int]:
    return [before[key][0] for key in keys]


def in_words(found: list[Difference]) -> str:
    """``servers[2].ratio 1 -> 5, description x removed``."""
    told = [_change_text(one) for one in found[:CHANGES_TOLD]]
    if len(found) > CHANGES_TOLD:
        told.append(f"and {len(found) - CHANGES_TOLD} more fields")
    return ", ".join(told)


def _change_text(one: Difference) -> str:
    old, new = one["old"], one["new"]
    if old is None:
        return f"{one['field']} set to {_text(new)}"
    if new is None:
        return f"{one['field']} removed ({_text(old)})"
    return f"{one['field']} {_text(old)} -> {_text(new)}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)

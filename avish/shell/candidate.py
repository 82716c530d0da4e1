"""An object being edited: a stack of frames, one for each open mode. Pure; nothing reaches the controller from here."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from avish.errors import Issue, ValidationError
from avish.lang.tree import Op
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import Ref, ref_name

Body = dict[str, Any]
OWN = ("uuid", "name", "url", "_last_modified")
"""What an object that is given whole cannot change."""


@dataclass(slots=True)
class Frame:
    """One open mode. ``field``: None for the object itself; ``position``: of the element being changed, None: new."""

    message: Message
    value: Body
    field: Field | None = None
    position: int | None = None
    announced: bool = True
    """False: a new element of which the user has not been told yet."""
    unset: frozenset[str] = frozenset()
    """Fields unset in a new element, for the case that it turns out to be an existing one."""


@dataclass(slots=True)
class Candidate:
    """The object under edit. ``stored``: as the controller has it, None for a new one."""

    type: ObjectType
    name: str
    stored: Body | None
    frames: list[Frame] = field(default_factory=list)
    stale: bool = False
    """Somebody else has saved the object since it was read."""
    refused: bool = False
    """The innermost mode was to be saved, and that was refused."""

    @classmethod
    def open(cls, object_type: ObjectType, name: str, stored: Body | None) -> Candidate:
        """Begin to edit."""
        fresh = {} if object_type.singleton else {"name": name}
        value = copy.deepcopy(stored) if stored is not None else fresh
        return cls(object_type, name, stored, [Frame(object_type, value)])

    @property
    def body(self) -> Body:
        """The object as it would be saved."""
        return self.frames[0].value

    @property
    def modes(self) -> list[Message]:
        """The messages of the open modes, outermost first."""
        return [frame.message for frame in self.frames]

    @property
    def path(self) -> str:
        """The prompt's path: ``pool:servers``."""
        return ":".join([self.type.name, *(f.field.name for f in self.frames if f.field is not None)])

    def apply(self, op: Op) -> list[str]:
        """Carry out an editing operation; the lines to print. ValidationError says what and where."""
        kind = op[0]
        frame = self.frames[-1]
        if kind == "set":
            return self._set(op[1], op[2])
        if kind == "enter":
            return self._enter(op[1])
        if kind == "index":
            self._index(op[1])
        elif kind == "range":
            frame.value.update(op[1])
        elif kind == "unset":
            frame.value.pop(op[1].name, None)
            frame.unset |= {op[1].name}
        elif kind == "body":
            self._replace(op[1], whole=op[2])
        elif kind == "discard":
            self._discard(op[1], op[2])
        elif kind == "save":
            return self._save()
        elif kind == "cancel":
            self.frames.pop()
        return []

    def settle(self) -> list[str]:
        """End of a line: a new element whose key is complete becomes the existing one with that key."""
        lines = []
        for parent, frame in zip(self.frames, self.frames[1:], strict=False):
            if frame.field is None or not frame.field.list or frame.position is not None:
                continue
            elements = parent.value.get(frame.field.name, [])
            if frame.message.key and all(key in frame.value for key in frame.message.key):
                self._rebind(frame, elements)
            if _twin_of(frame, elements) is None:
                lines += _announce(frame)
        return lines

    def drop_refused(self) -> bool:
        """Close the mode whose save was refused; whether there was one."""
        if self.refused:
            self.refused = False
            self.frames.pop()
            return True
        return False

    def remove(self, item: Field, which: list[Op]) -> list[str]:
        """``no field ...``: the elements that ``which`` names: ("match", field, value), ("index", n), ("range", a)."""
        elements = self.frames[-1].value.get(item.name, [])
        doomed = [i for i, element in enumerate(elements) if _matches(element, i, which)]
        said = ", ".join(_pair(op) for op in which)
        if not doomed and not which:
            raise ValidationError([Issue(self._place(item.name), "there is none to remove")])
        if not doomed:
            raise ValidationError([Issue(self._place(item.name), f"there is none with {said}")])
        kept = [element for i, element in enumerate(elements) if i not in doomed]
        self.frames[-1].value[item.name] = kept
        return [f"Removed {item.name} with {said}" if which else f"Removed all {item.name}"]

    def _enter(self, item: Field) -> list[str]:
        lines = self.settle()  # an element that exists must be found before something inside it is edited
        parent = self.frames[-1].value
        if item.list:
            self.frames.append(Frame(item.nested, {}, item, announced=False))
        else:
            self.frames.append(Frame(item.nested, copy.deepcopy(parent.get(item.name, {})), item))
        return lines

    def _set(self, item: Field, new: Any) -> list[str]:
        value = self.frames[-1].value
        if item.list:
            values = value.setdefault(item.name, [])
            if not any(_same(item, old, new) for old in values):
                self._room(item, values)
                values.append(new)
            return []
        overwrites = item.name in value
        value[item.name] = new
        return [f"Overwriting the previously entered value for {item.name}"] if overwrites else []

    def _index(self, number: int) -> None:
        frame, parent = self.frames[-1], self.frames[-2]
        name = frame.field.name if frame.field else ""
        elements = parent.value.get(name, [])
        if number > len(elements):
            self.frames.pop()
            raise ValidationError(
                [
                    Issue(
                        self._place(name),
                        f"there is no element {number}; it has {len(elements)} ('{name}' alone makes a new one)",
                    )
                ]
            )
        frame.position = number - 1
        frame.value = copy.deepcopy(elements[number - 1])

    def _replace(self, body: Body, *, whole: bool) -> None:
        """Take over the fields of ``body``; ``whole``: they are all there are."""
        own = {name: self.body[name] for name in OWN if name in self.body}
        given = {name: value for name, value in body.items() if name not in OWN}
        self.frames[0].value = {**own, **given} if whole else {**self.body, **given, **own}

    def _discard(self, item: Field, value: Any) -> None:
        values = self.frames[-1].value.get(item.name, [])
        kept = [other for other in values if not _same(item, other, value)]
        if len(kept) == len(values):
            raise ValidationError([Issue(self._place(item.name), f"{item.leaf.format(value)} is not in the list")])
        self.frames[-1].value[item.name] = kept

    def _save(self) -> list[str]:
        """Merge the innermost frame into its parent; required fields and limits are checked here."""
        frame = self.frames[-1]
        if frame.field is None:
            raise TypeError("the outermost frame is saved by the session")
        parent = self.frames[-2].value
        if frame.field.list and frame.position is None:
            self._rebind(frame, parent.get(frame.field.name, []))
        issues = missing(frame.message, frame.value, self._place())
        if issues:
            raise ValidationError(issues)
        self.frames.pop()
        if not frame.field.list:
            parent[frame.field.name] = frame.value
        elif frame.position is not None:
            parent[frame.field.name][frame.position] = frame.value
        else:
            elements = parent.setdefault(frame.field.name, [])
            self._room(frame.field, elements)
            elements.append(frame.value)
            return _announce(frame)
        return []

    def _room(self, item: Field, values: list[Any]) -> None:
        if item.max_items and len(values) >= item.max_items:
            raise ValidationError([Issue(self._place(item.name), f"at most {item.max_items} are possible")])

    @staticmethod
    def _rebind(frame: Frame, elements: list[Body]) -> None:
        """If an element with the key (or, without a key, the value) of a new one exists, go on with that one."""
        position = _twin_of(frame, elements)
        if position is None:
            return
        kept = {name: value for name, value in elements[position].items() if name not in frame.unset}
        frame.value = merged(frame.message, kept, frame.value)
        frame.position = position

    def _place(self, last: str = "") -> str:
        parts = [
            f"{f.field.name}[{_number(f, p)}]" if f.field.list else f.field.name
            for p, f in zip(self.frames, self.frames[1:], strict=False)
            if f.field is not None
        ]
        return " ".join([self.type.word, self.name, ".".join([*parts, last] if last else parts)]).rstrip()


def _twin_of(frame: Frame, elements: list[Body]) -> int | None:
    """The position of the element that a list's frame is, or would be if nothing more of its key were typed."""
    if frame.position is not None:
        return frame.position
    same = (n for n, element in enumerate(elements) if _same_element(frame.message, element, frame.value))
    return next(same, None)


def _announce(frame: Frame) -> list[str]:
    """What to say of a new element, once."""
    if frame.announced:
        return []
    frame.announced = True
    return ["New object being created"]


def _number(frame: Frame, parent: Frame) -> int:
    if frame.position is not None:
        return frame.position + 1
    return len(parent.value.get(frame.field.name if frame.field else "", [])) + 1


def missing(message: Message, value: Body, place: str) -> list[Issue]:
    """Required fields that are absent, with what to type; not those with a default or filled by the controller."""
    return [
        Issue(place, f"{item.name} is missing ({_how(item)})")
        for item in message.fields.values()
        if item.required and item.name not in value and item.default is None and not item.auto and not item.read_only
    ]


def _how(item: Field) -> str:
    return f"{item.name}, then its fields" if item.message else f"{item.name} {item.leaf.label}"


def merged(message: Message, old: Body, new: Body) -> Body:
    """``old`` with what was typed into ``new``: scalars replaced, lists extended by what they lack, messages merged."""
    result = copy.deepcopy(old)
    for name, value in new.items():
        item = message.fields[name]
        if item.list:
            result[name] = _extended(item, result.get(name, []), value)
        elif item.message is not None and name in result:
            result[name] = merged(item.message, result[name], value)
        else:
            result[name] = value
    return result


def _extended(item: Field, old: list[Any], new: list[Any]) -> list[Any]:
    result = list(old)
    for value in new:
        twin = next((i for i, other in enumerate(result) if _twin(item, other, value)), None)
        if twin is None:
            result.append(value)
        elif item.message is not None:
            result[twin] = merged(item.message, result[twin], value)
    return result


def _twin(item: Field, a: Any, b: Any) -> bool:
    return _same(item, a, b) if item.message is None else _same_element(item.message, a, b)


def _same_element(message: Message, old: Body, new: Body) -> bool:
    """Whether both are the same element: equal keys; without keys, everything typed stands in the old one already."""
    if message.key:
        return all(_same(message.fields[key], old.get(key), new.get(key)) for key in message.key)
    return (bool(new) or _untouched(message, old)) and merged(message, old, new) == old


def _untouched(message: Message, body: Body) -> bool:
    """Whether an element says nothing: no field, or only what is so by default."""
    for name, value in body.items():
        item = message.fields.get(name)
        if item is None or value in (item.default, []):
            continue
        if item.message is None or item.list or not _untouched(item.message, value):
            return False
    return True


def _same(item: Field, a: Any, b: Any) -> bool:
    if isinstance(item.type, Ref) and isinstance(a, str) and isinstance(b, str):
        return ref_name(a) == ref_name(b)
    return bool(a == b)


def _matches(element: Body, position: int, which: list[Op]) -> bool:
    for op in which:
        if op[0] == "index" and position != op[1] - 1:
            return False
        if op[0] == "range" and any(element.get(end) != op[1][end] for end in ("begin", "end")):
            return False
        if op[0] == "match" and not _same(op[1], element.get(op[1].name), op[2]):
            return False
    return True


def _pair(op: Op) -> str:
    if op[0] == "index":
        return f"index={op[1]}"
    if op[0] == "range":
        return f"range={op[1]['begin']['addr']}-{op[1]['end']['addr']}"
    return f"{op[1].name}={op[1].leaf.format(op[2])}"

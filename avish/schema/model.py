"""Objects, messages, fields and commands as the grammar describes them: values, read by every other room."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

from avish.schema.types import Type


@dataclass(slots=True, eq=False)
class Message:
    """Named fields in row order.

    ``key``: the fields that tell one element of a list from another. ``bare``: what a bare value sets ("range": begin
    and end from A-B). ``partial``: the vendor's message has fields that this one has not.
    """

    name: str
    fields: dict[str, Field]
    key: tuple[str, ...] = ()
    bare: str = ""
    partial: bool = False

    @property
    def only_field(self) -> str:
        """The name of the one field the vendor's message has, or ""."""
        return next(iter(self.fields)) if len(self.fields) == 1 and not self.partial else ""


@dataclass(slots=True, eq=False)
class Field:
    """A field: a leaf (``type``) or a nested ``message``; with ``list`` repeated.

    ``auto``: the controller fills it when it is absent. ``read_only``: typed values are refused.
    ``applied``: "dataplane" changes forwarding, "stored" is kept and shown.
    """

    name: str
    help: str
    type: Type | None = None
    message: Message | None = None
    list: bool = False
    required: bool = False
    default: Any = None
    min_items: int = 0
    max_items: int = 0
    auto: bool = False
    read_only: bool = False
    deprecated: str = ""
    applied: str = "stored"

    @property
    def leaf(self) -> Type:
        """The leaf type; only asked of fields that are no message."""
        if self.type is None:
            raise TypeError(f"{self.name} is a message")
        return self.type

    @property
    def nested(self) -> Message:
        """The message; only asked of fields that are one."""
        if self.message is None:
            raise TypeError(f"{self.name} is not a message")
        return self.message


@dataclass(slots=True, eq=False)
class Column:
    """A column of a list table; ``path`` leads into the body (``vsvip_ref_data.vip.ip_address``)."""

    title: str
    path: str


@dataclass(slots=True, eq=False)
class ObjectType(Message):
    """A noun: what is remembered. ``name`` is its word in /api/ and the prompt, ``word`` the one on the CLI."""

    help: str = ""
    title: str = ""
    """The vendor's type name (``NatPolicy``)."""
    word: str = ""
    verb: str = "configure"
    scope: str = "tenant"
    names: str = ""
    """The object type that lends its names (debug objects), or ""."""
    columns: tuple[Column, ...] = ()
    joins: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands that every object type has: path, the argument as ``<word>``, and help."""
        one = f"<{self.word}>"
        shown = f"show debug {self.word}" if self.verb == "debug" else f"show {self.word}"
        own = [
            (f"{self.verb} {self.word} {one}", f"Change: {self.help}"),
            (shown, f"List: {self.help}"),
            (f"{shown} {one}", f"Show one: {self.help}"),
        ]
        return own if self.verb == "debug" else [*own, (f"delete {self.word} {one}", f"Delete: {self.help}")]


@dataclass(slots=True, eq=False)
class Command:
    """A verb path that asks or acts and remembers nothing.

    ``path`` in words, an argument as ``<object>``. ``run`` names the function (``se.vshash``), ``api`` the path of the
    REST call below /api/<object>/<uuid>/ (or below /api/ when the path has no argument).
    """

    path: tuple[str, ...]
    help: str
    run: str
    api: str


@dataclass(slots=True)
class Schema:
    """Everything the grammar says. Object types are unpacked when first asked for: start-up pays for what it uses."""

    index: dict[str, tuple[str, str, str]]
    """Object type: (verb, word, help)."""
    packed: dict[str, bytes]
    commands: list[Command]
    words: dict[str, str]
    """The shell's own words and their help."""
    defaults: dict[str, list[dict[str, Any]]]
    """System objects of a fresh store, by type; values as typed on the CLI."""
    _objects: dict[str, ObjectType] = field(default_factory=dict)

    def object(self, name: str) -> ObjectType:
        """The object type; KeyError when there is none."""
        found = self._objects.get(name)
        if found is None:
            found = self._objects[name] = pickle.loads(self.packed[name])  # noqa: S301  (our own cache)
        return found

    def objects(self) -> list[ObjectType]:
        """All object types."""
        return [self.object(name) for name in self.index]

"""Objects, messages, fields and commands as the grammar describes them: values, read by every other room."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

from avish.schema.types import Type

MODE_WORDS = ("cancel", "exit", "save", "where")
"""Words that every mode has beside its fields."""


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
    since: str = ""
    """The first release that has it; "": not stated."""
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
    """A noun: what is remembered. ``name`` is its word in /api/ and the prompt, ``word`` the one on the CLI, or all
    of them in one text where one is not enough (``controller properties``).
    """

    help: str = ""
    title: str = ""
    """The vendor's type name (``NatPolicy``)."""
    word: str = ""
    words: tuple[str, ...] = ()
    """The words of ``word``, one by one."""
    singleton: bool = False
    """There is exactly one: no name on the CLI, and its uuid is ``name``."""
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
        if self.singleton:
            return [(f"configure {self.word}", f"Change: {self.help}"), (f"show {self.word}", f"Show: {self.help}")]
        one = f"<{self.word}>"
        shown = f"show debug {self.word}" if self.verb == "debug" else f"show {self.word}"
        change, delete = f"{self.verb} {self.word} {one}", f"delete {self.word} {one}"
        return [
            *([(change, f"Change: {self.help}")] if self.verb != "show" else []),
            (shown, f"List: {self.help}"),
            (f"{shown} {one}", f"Show one: {self.help}"),
            *([(delete, f"Delete: {self.help}")] if self.verb == "configure" else []),
        ]


@dataclass(slots=True, eq=False)
class Command:
    """A verb path that asks or acts and remembers nothing.

    ``path`` in words, an argument as ``<name>``. One of three says what it does: ``run`` names the function of the
    controller (``se.vshash``), reached with ``method`` at ``api`` below /api/<object>/<uuid>/ (or below /api/ when the
    path has no argument); ``does`` the function of the shell; ``refused`` is the reason why it does nothing here.
    ``asks``: the question a person has to answer with yes before it is done.
    """

    path: tuple[str, ...]
    help: str
    run: str = ""
    api: str = ""
    method: str = "GET"
    does: str = ""
    refused: str = ""
    asks: str = ""
    hidden: bool = False
    """Taken but not offered."""
    args: dict[str, Field] = field(default_factory=dict)
    options: dict[str, Field] = field(default_factory=dict)
    """Words that may follow the path, in any order, each once; one of type bool stands alone."""
    filters: dict[str, Field] = field(default_factory=dict)
    """The same behind the word ``filter``: they go to the controller as the query."""
    columns: tuple[Column, ...] = ()
    """A list of rows is shown as a table with these; none: Field and Value."""
    live: bool = False
    """On a terminal it is shown again and again, until q is pressed."""


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
    outside: dict[str, str] = field(default_factory=dict)
    """The vendor's nouns that are no part of this product, and why."""
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

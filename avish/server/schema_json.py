"""``avishd schema --json``: the object model and the command tree as one JSON document."""

from __future__ import annotations

from typing import Any

from avish.schema import types
from avish.schema.model import Field, Message, ObjectType, Schema


def schema_document(schema: Schema) -> dict[str, Any]:
    """{"objects": {name: about}, "commands": [{"path", "help"}], "outside": {noun: reason}}.

    About an object: verb, word, class, singleton, scope, help, fields.
    """
    objects = {kind.name: _object(kind) for kind in schema.objects()}
    generated = [command for kind in schema.objects() for command in kind.commands]
    written = [(" ".join(command.path), command.help) for command in schema.commands]
    commands = [{"path": path, "help": text} for path, text in generated + written]
    return {"objects": objects, "commands": commands, "outside": schema.outside}


def _object(kind: ObjectType) -> dict[str, Any]:
    return {
        "verb": kind.verb,
        "word": kind.word,
        "class": kind.title,
        "singleton": kind.singleton,
        "scope": kind.scope,
        "help": kind.help,
        "fields": _fields(kind, (), acts=True),
    }


def _fields(message: Message, above: tuple[int, ...], *, acts: bool) -> dict[str, Any]:
    """The fields of a message; one that holds itself is not opened again.

    ``acts``: the message is acted on; a shared one may be kept only in one place and acted on in another.
    """
    if id(message) in above:
        return {}
    return {field.name: _field(field, (*above, id(message)), acts=acts) for field in message.fields.values()}


def _field(field: Field, above: tuple[int, ...], *, acts: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "list": field.list,
        "required": field.required,
        "read_only": field.read_only,
        "deprecated": field.deprecated,
        "since": field.since,
        "min_items": field.min_items,
        "max_items": field.max_items,
    }
    kept = {name: value for name, value in facts.items() if value}
    if field.default is not None:
        kept["default"] = field.default
    acts = acts and field.applied == "dataplane"
    about = {"help": field.help, "applied": "dataplane" if acts else "stored"}
    if field.message is not None:
        return {"type": "message", **kept, **about, "fields": _fields(field.message, above, acts=acts)}
    return {"type": field.leaf.name, **_leaf(field.leaf), **kept, **about}


def _leaf(leaf: types.Type) -> dict[str, Any]:
    if isinstance(leaf, types.Enum):
        return {"enum": list(leaf.values)}
    if isinstance(leaf, types.Ref):
        return {"to": leaf.to}
    if not isinstance(leaf, types.Number):
        return {}
    facts: dict[str, Any] = {"unit": leaf.unit, "special": list(leaf.extra), "allowed": list(leaf.allowed)}
    if leaf.low is not None and leaf.high is not None:
        facts["range"] = [leaf.low, leaf.high]
    return {name: value for name, value in facts.items() if value}

"""The grammar's YAML, checked and turned into a Schema. Every refusal names file and path."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from avish.errors import SchemaError
from avish.schema import types
from avish.schema.commands import commands_of
from avish.schema.model import MODE_WORDS, Column, Command, Field, Message, ObjectType, Schema
from avish.schema.place import Place, known
from avish.schema.tables import outside_nouns, shell_words, system_objects

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML without its C part reads the same, many times slower
    from yaml import SafeLoader  # type: ignore[assignment]

OBJECT_KEYS = {
    "object",
    "class",
    "verb",
    "word",
    "words",
    "singleton",
    "names",
    "help",
    "scope",
    "columns",
    "joins",
    "checks",
    "key",
    "partial",
    "fields",
}
FIELD_KEYS = {
    "type",
    "enum",
    "ref",
    "stored",
    "message",
    "fields",
    "help",
    "list",
    "required",
    "default",
    "range",
    "allowed",
    "special",
    "unit",
    "min_items",
    "max_items",
    "key",
    "bare",
    "partial",
    "applied",
    "auto",
    "read_only",
    "deprecated",
    "since",
}
MESSAGE_KEYS = {"help", "key", "bare", "partial", "fields"}
KINDS = {"type", "enum", "ref", "message", "fields"}
VERBS = ("configure", "debug", "show")
"""Of objects; what is only shown is made by the controller itself."""
SHELL_WORDS = {*MODE_WORDS, "do", "no"}
SIMPLE_TYPES: Mapping[str, type[types.Type]] = {
    "name": types.Name,
    "string": types.Text,
    "secret": types.Secret,
    "mac": types.Mac,
    "bool": types.Bool,
    "ip": types.Ip,
    "host": types.Host,
    "prefix": types.Prefix,
    "hostprefix": types.HostPrefix,
}


@dataclass
class _Library:
    """The shared messages and enumerations; messages are built when first used, so that they may use each other."""

    objects: set[str]
    messages: dict[str, Any] = field(default_factory=dict)
    enums: dict[str, Any] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    """Name of a message: the file it stands in."""
    built: dict[str, Message] = field(default_factory=dict)

    def add(self, file: str, raw: Any) -> None:
        """Take the enumerations and messages of a file; each name may stand only once."""
        known(raw, {"enums", "messages"}, Place(file))
        for what, own in (("enums", self.enums), ("messages", self.messages)):
            for name, value in (raw.get(what) or {}).items():
                if name in own:
                    other = f" (the other in {self.homes[name]})" if name in self.homes else ""
                    raise Place(file, f"{what}.{name}").error(f"there is another one of this name{other}")
                own[name] = value
                if what == "messages":
                    self.homes[name] = file

    def message(self, name: str, place: Place) -> Message:
        if name not in self.messages:
            raise place.error(f"unknown message {name!r}")
        if name not in self.built:
            raw = self.messages[name]
            where = Place(self.homes[name], f"messages.{name}")
            known(raw, MESSAGE_KEYS, where)
            message = self.built[name] = Message(name, {})
            _fill(message, raw, where, self)
        return self.built[name]


def compile_grammar(texts: Mapping[str, bytes]) -> Schema:
    """The Schema of the YAML files ``texts`` (relative path: content)."""
    loaded = {name: _yaml(name, text) for name, text in texts.items()}
    raw_objects = {n: v for n, v in loaded.items() if n.startswith("objects/")}
    library = _Library({raw["object"] for raw in raw_objects.values() if isinstance(raw, dict) and "object" in raw})
    for name, raw in loaded.items():
        if name == "messages.yaml" or name.startswith("messages/"):
            library.add(name, raw or {})
    objects = [_object(Place(name), raw, library) for name, raw in raw_objects.items()]
    _no_twins(objects)
    for name, home in library.homes.items():
        library.message(name, Place(home))
    commands = commands_of(
        {n: v for n, v in loaded.items() if n.startswith("commands/")},
        {o.word: o.name for o in objects if o.verb != "debug" and not o.singleton},
        partial(_field, library=library),
    )
    _no_shadows(objects, commands)
    return Schema(
        index={o.name: (o.verb, o.word, o.help) for o in sorted(objects, key=lambda o: o.name)},
        packed={o.name: pickle.dumps(o) for o in objects},
        commands=commands,
        words=shell_words(loaded.get("shell.yaml") or {}),
        defaults=system_objects(
            {n: v for n, v in loaded.items() if n == "system_defaults.yaml" or n.startswith("defaults/")},
            {o.name: o for o in objects},
        ),
        outside=outside_nouns(loaded.get("outside.yaml") or [], {o.word for o in objects}),
    )


class _Loader(SafeLoader):
    """Safe, and refuses a key given twice (YAML would let the last win)."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands here twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _yaml(name: str, text: bytes) -> Any:
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (derived from SafeLoader)
    except yaml.YAMLError as error:
        raise SchemaError(f"{name}: {error}") from None


def _object(place: Place, raw: Any, library: _Library) -> ObjectType:
    known(raw, OBJECT_KEYS, place)
    for needed in ("object", "class", "help", "fields"):
        if not raw.get(needed):
            raise place.error(f"{needed} is missing")
    if not isinstance(raw["fields"], dict):
        raise place.error("fields are no mapping")
    if raw.get("verb", "configure") not in VERBS:
        raise place.error(f"verb: {raw['verb']!r} is none of {', '.join(VERBS)}")
    if raw.get("scope", "tenant") not in ("tenant", "cloud", "system"):
        raise place.error(f"scope: {raw['scope']!r} is none of tenant, cloud, system")
    if raw.get("names") and raw["names"] not in library.objects:
        raise place.error(f"names: unknown object {raw['names']!r}")
    words = tuple(raw.get("words") or [raw.get("word", raw["object"])])
    if "word" in raw and "words" in raw:
        raise place.error("words: give word or words, not both")
    object_type = ObjectType(
        name=raw["object"],
        fields={},
        help=raw["help"],
        title=raw["class"],
        verb=raw.get("verb", "configure"),
        word=" ".join(words),
        words=words,
        singleton=bool(raw.get("singleton")),
        scope=raw.get("scope", "tenant"),
        names=raw.get("names", ""),
        joins=tuple(raw.get("joins", ())),
        checks=tuple(raw.get("checks", ())),
    )
    _fill(object_type, {**raw, "fields": {"uuid": UUID_FIELD, **raw["fields"], **LATER_FIELDS}}, place, library)
    object_type.columns = _columns(raw, place)
    for join in object_type.joins:
        if join not in object_type.fields:
            raise place.error(f"joins: unknown field {join!r}")
    return object_type


UUID_FIELD = {"type": "string", "read_only": True, "help": "Identifier given at creation; never changes"}
LATER_FIELDS = {
    "url": {"type": "string", "read_only": True, "help": "Address of the object in the REST API"},
    "_last_modified": {"type": "string", "read_only": True, "help": "Time of the last change, in microseconds"},
}


def _columns(raw: dict[str, Any], place: Place) -> tuple[Column, ...]:
    given = raw.get("columns")
    if given is None:
        given = [{"title": "Name", "path": "name"}, {"title": "UUID", "path": "uuid"}]
        given += [{"title": "Cloud", "path": "cloud_ref"}] if raw.get("scope") == "cloud" else []
    for number, column in enumerate(given):
        where = place / f"columns[{number}]"
        known(column, {"title", "path"}, where)
        if len(column) != 2:
            raise where.error("title and path are needed")
    return tuple(Column(column["title"], column["path"]) for column in given)


def _fill(message: Message, raw: dict[str, Any], place: Place, library: _Library) -> None:
    """Fields, key, bare and partial of a message."""
    if not isinstance(raw.get("fields"), dict):
        raise place.error("fields are missing")
    for name, spec in raw["fields"].items():
        if not isinstance(name, str):
            raise (place / str(name)).error("a field's name is a text")
        if name in SHELL_WORDS:
            raise (place / name).error("the shell has this word for itself")
        message.fields[name] = _field(name, spec, place / name, library)
    message.key = tuple(raw.get("key", ()))
    message.bare = raw.get("bare", "")
    message.partial = bool(raw.get("partial", False))
    for name in message.key:
        if name not in message.fields:
            raise place.error(f"key: unknown field {name!r}")
    if message.bare == "range" and set(message.fields) != {"begin", "end"}:
        raise place.error("bare: range needs begin and end")
    if message.bare not in ("", "range") and message.bare not in message.fields:
        raise place.error(f"bare: unknown field {message.bare!r}")


def _field(name: str, raw: Any, place: Place, library: _Library) -> Field:
    known(raw, FIELD_KEYS, place)
    if not raw.get("help"):
        raise place.error("help is missing")
    if len(KINDS & set(raw)) > 1:
        raise place.error("only one of type, enum, ref, message, fields says what it is")
    if "range" in raw and raw.get("type") not in ("int", "float"):
        raise place.error("range: only numbers have one")
    if raw.get("applied", "stored") not in ("stored", "dataplane"):
        raise place.error(f"applied: {raw['applied']!r} is neither stored nor dataplane")
    message = _nested(name, raw, place, library)
    result = Field(
        name,
        raw["help"],
        type=None if message else _leaf(raw, place, library),
        message=message,
        list=bool(raw.get("list")),
        required=bool(raw.get("required")),
        min_items=raw.get("min_items", 0),
        max_items=raw.get("max_items", 0),
        auto=bool(raw.get("auto")),
        read_only=bool(raw.get("read_only")),
        deprecated=str(raw.get("deprecated", "")),
        since=_release(raw.get("since", ""), place),
        applied=raw.get("applied", "stored"),
    )
    if "default" in raw:
        result.default = _default(result, raw["default"], place)
    return result


def _release(raw: Any, place: Place) -> str:
    """A release as a text; 21.1 without quotes would be a number."""
    if not isinstance(raw, str):
        raise place.error('since: write the release in quotes, like "20.1.1"')
    return raw


def _nested(name: str, raw: dict[str, Any], place: Place, library: _Library) -> Message | None:
    if "fields" in raw:
        message = Message(name, {})
        _fill(message, raw, place, library)
        return message
    if "message" not in raw:
        return None
    shared = library.message(raw["message"], place)
    if "key" not in raw:
        return shared
    for key in raw["key"]:
        if key not in shared.fields:
            raise place.error(f"key: unknown field {key!r}")
    return Message(shared.name, shared.fields, tuple(raw["key"]), shared.bare, shared.partial)


def _leaf(raw: dict[str, Any], place: Place, library: _Library) -> types.Type:
    if "enum" in raw:
        values = library.enums.get(raw["enum"]) if isinstance(raw["enum"], str) else raw["enum"]
        if not values:
            raise place.error(f"enum: unknown enumeration {raw['enum']!r}")
        if any(not isinstance(v, str) or v != v.upper() for v in values) or len(set(values)) != len(values):
            raise place.error("enum: upper-case words, each once")
        return types.Enum(tuple(values))
    if "ref" in raw:
        loose = raw.get("stored") == "name"
        if raw["ref"] not in library.objects and not loose:
            raise place.error(f"ref: unknown object {raw['ref']!r}")
        return types.Ref(raw["ref"], loose=loose)
    kind = str(raw.get("type"))
    if kind in ("int", "float"):
        low, high = _range(raw["range"], place) if "range" in raw else (None, None)
        return types.Number(
            real=kind == "float",
            low=low,
            high=high,
            extra=tuple(raw.get("special", ())),
            allowed=tuple(raw.get("allowed", ())),
            unit=str(raw.get("unit", "")),
        )
    if kind not in SIMPLE_TYPES:
        raise place.error(f"type: unknown type {kind!r}")
    return SIMPLE_TYPES[kind]()


def _range(raw: Any, place: Place) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2 or raw[0] > raw[1]:
        raise place.error("range: [low, high] is expected")
    return raw[0], raw[1]


def _default(target: Field, raw: Any, place: Place) -> Any:
    if target.message is not None:
        raise place.error("default: a message has none; give its fields theirs")
    try:
        if isinstance(target.type, types.Ref):
            return target.leaf.parse(raw)
        if target.list:
            return [target.leaf.check(value) for value in raw]
        return target.leaf.check(raw)
    except (ValueError, TypeError) as error:
        raise place.error(f"default: its own type refuses it: {error}") from None


def _no_shadows(objects: list[ObjectType], commands: list[Command]) -> None:
    paths = {command.path for command in commands}
    for item in objects:
        if item.singleton and ("show", *item.words) in paths:
            raise SchemaError(f"commands: 'show {item.word}' is made from objects/{item.name}.yaml already")


def _no_twins(objects: list[ObjectType]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for item in objects:
        if sum(other.name == item.name for other in objects) > 1:
            raise SchemaError(f"objects: two files describe {item.name!r}")
        twin = seen.setdefault((item.verb, item.word), item.name)
        if twin != item.name:
            raise SchemaError(f"objects: '{item.verb} {item.word}' stands for both {twin} and {item.name}")

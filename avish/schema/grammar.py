"""The grammar's YAML, checked and turned into a Schema. Every refusal names file and path."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from avish.errors import SchemaError
from avish.schema import types
from avish.schema.model import Column, Command, Field, Message, ObjectType, Schema

OBJECT_KEYS = {
    "object",
    "class",
    "verb",
    "word",
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
}
MESSAGE_KEYS = {"help", "key", "bare", "partial", "fields"}
KINDS = {"type", "enum", "ref", "message", "fields"}
SHELL_WORDS = {"cancel", "do", "exit", "no", "save", "where"}
SIMPLE_TYPES: Mapping[str, type[types.Type]] = {
    "name": types.Name,
    "string": types.Text,
    "secret": types.Secret,
    "mac": types.Mac,
    "bool": types.Bool,
    "ip": types.Ip,
    "prefix": types.Prefix,
    "hostprefix": types.HostPrefix,
}


@dataclass
class _Place:
    """Where in the grammar we are, for error texts."""

    file: str
    path: str = ""

    def __truediv__(self, part: str) -> _Place:
        return _Place(self.file, f"{self.path}.{part}" if self.path else part)

    def error(self, text: str) -> SchemaError:
        where = f"{self.file}: {self.path}: " if self.path else f"{self.file}: "
        return SchemaError(where + text)


@dataclass
class _Library:
    """The shared messages and enumerations; messages are built when first used, so that they may use each other."""

    messages: dict[str, Any]
    enums: dict[str, Any]
    objects: set[str]
    built: dict[str, Message] = field(default_factory=dict)

    def message(self, name: str, place: _Place) -> Message:
        if name not in self.messages:
            raise place.error(f"unknown message {name!r}")
        if name not in self.built:
            raw = self.messages[name]
            where = _Place("messages.yaml", f"messages.{name}")
            _known(raw, MESSAGE_KEYS, where)
            message = self.built[name] = Message(name, {})
            _fill(message, raw, where, self)
        return self.built[name]


def compile_grammar(texts: Mapping[str, bytes]) -> Schema:
    """The Schema of the YAML files ``texts`` (relative path: content)."""
    loaded = {name: _yaml(name, text) for name, text in texts.items()}
    raw_objects = {n: v for n, v in loaded.items() if n.startswith("objects/")}
    shared = loaded.get("messages.yaml") or {}
    _known(shared, {"enums", "messages"}, _Place("messages.yaml"))
    names = {raw["object"] for raw in raw_objects.values() if isinstance(raw, dict) and "object" in raw}
    library = _Library(shared.get("messages") or {}, shared.get("enums") or {}, names)
    objects = [_object(_Place(name), raw, library) for name, raw in raw_objects.items()]
    _no_twins(objects)
    for name in library.messages:
        library.message(name, _Place("messages.yaml"))
    return Schema(
        index={o.name: (o.verb, o.word, o.help) for o in sorted(objects, key=lambda o: o.name)},
        packed={o.name: pickle.dumps(o) for o in objects},
        commands=_commands({n: v for n, v in loaded.items() if n.startswith("commands/")}, objects),
        words=_words(loaded.get("shell.yaml") or {}),
        defaults=_defaults(loaded.get("system_defaults.yaml") or {}, {o.name: o for o in objects}),
    )


class _Loader(yaml.SafeLoader):
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


def _known(raw: Any, keys: set[str], place: _Place) -> None:
    if not isinstance(raw, dict):
        raise place.error("a mapping is expected here")
    for key in raw:
        if key not in keys:
            raise place.error(f"unknown attribute {key!r}; known are {', '.join(sorted(keys))}")


def _object(place: _Place, raw: Any, library: _Library) -> ObjectType:
    _known(raw, OBJECT_KEYS, place)
    for needed in ("object", "class", "help", "fields"):
        if not raw.get(needed):
            raise place.error(f"{needed} is missing")
    if not isinstance(raw["fields"], dict):
        raise place.error("fields are no mapping")
    if raw.get("verb", "configure") not in ("configure", "debug"):
        raise place.error(f"verb: {raw['verb']!r} is neither configure nor debug")
    if raw.get("scope", "tenant") not in ("tenant", "cloud", "system"):
        raise place.error(f"scope: {raw['scope']!r} is none of tenant, cloud, system")
    if raw.get("names") and raw["names"] not in library.objects:
        raise place.error(f"names: unknown object {raw['names']!r}")
    object_type = ObjectType(
        name=raw["object"],
        fields={},
        help=raw["help"],
        title=raw["class"],
        verb=raw.get("verb", "configure"),
        word=raw.get("word", raw["object"]),
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


def _columns(raw: dict[str, Any], place: _Place) -> tuple[Column, ...]:
    given = raw.get("columns")
    if given is None:
        given = [{"title": "Name", "path": "name"}, {"title": "UUID", "path": "uuid"}]
        given += [{"title": "Cloud", "path": "cloud_ref"}] if raw.get("scope") == "cloud" else []
    for number, column in enumerate(given):
        where = place / f"columns[{number}]"
        _known(column, {"title", "path"}, where)
        if len(column) != 2:
            raise where.error("title and path are needed")
    return tuple(Column(column["title"], column["path"]) for column in given)


def _fill(message: Message, raw: dict[str, Any], place: _Place, library: _Library) -> None:
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


def _field(name: str, raw: Any, place: _Place, library: _Library) -> Field:
    _known(raw, FIELD_KEYS, place)
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
        applied=raw.get("applied", "stored"),
    )
    if "default" in raw:
        result.default = _default(result, raw["default"], place)
    return result


def _nested(name: str, raw: dict[str, Any], place: _Place, library: _Library) -> Message | None:
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


def _leaf(raw: dict[str, Any], place: _Place, library: _Library) -> types.Type:
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


def _range(raw: Any, place: _Place) -> tuple[float, float]:
    if not isinstance(raw, list) or len(raw) != 2 or raw[0] > raw[1]:
        raise place.error("range: [low, high] is expected")
    return raw[0], raw[1]


def _default(target: Field, raw: Any, place: _Place) -> Any:
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


def _no_twins(objects: list[ObjectType]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for item in objects:
        if sum(other.name == item.name for other in objects) > 1:
            raise SchemaError(f"objects: two files describe {item.name!r}")
        twin = seen.setdefault((item.verb, item.word), item.name)
        if twin != item.name:
            raise SchemaError(f"objects: '{item.verb} {item.word}' stands for both {twin} and {item.name}")


def _commands(files: dict[str, Any], objects: list[ObjectType]) -> list[Command]:
    words = {o.word: o.name for o in objects if o.verb == "configure"}
    result: dict[tuple[str, ...], Command] = {}
    for name, entries in files.items():
        for number, raw in enumerate(entries or []):
            place = _Place(name, f"[{number}]")
            _known(raw, {"path", "help", "run", "api"}, place)
            if not all(raw.get(key) for key in ("path", "help", "run")):
                raise place.error("path, help and run are needed")
            path = tuple(raw["path"].split())
            where = place / "path"
            if problem := _path_problem(path, words):
                raise where.error(f"{raw['path']!r}: {problem}")
            if path in result:
                raise where.error(f"{raw['path']!r} stands here twice")
            result[path] = Command(path, raw["help"], raw["run"], raw.get("api") or _api_path(path))
    return list(result.values())


def _path_problem(path: tuple[str, ...], words: Mapping[str, str]) -> str:
    """What is wrong with the path of a command, or ""; ``words``: object words and the objects they stand for."""
    if path[0] != "show" or len(path) < 2:
        return "commands begin with show"
    for before, word in itertools.pairwise(path):
        if word.startswith("<") and words.get(before) != word[1:-1]:
            return "an argument is written with an object's own word and stands behind it"
    if path[1] in words and len(path) < 4:
        return "is made from the object already"
    return ""


def _api_path(path: tuple[str, ...]) -> str:
    """The vendor's naming rule: the words behind the argument, run together."""
    behind = (
        path[[word.startswith("<") for word in path].index(True) + 1 :]
        if any(word.startswith("<") for word in path)
        else path[1:]
    )
    return "".join(behind)


def _words(raw: dict[str, Any]) -> dict[str, str]:
    for word, text in raw.items():
        if not isinstance(text, str) or not text:
            raise SchemaError(f"shell.yaml: {word}: help is missing")
    return raw


def _defaults(raw: dict[str, Any], objects: dict[str, ObjectType]) -> dict[str, list[dict[str, Any]]]:
    for name, bodies in raw.items():
        place = _Place("system_defaults.yaml", name)
        if name not in objects:
            raise place.error("unknown object")
        for body in bodies:
            if not isinstance(body, dict):
                raise place.error("a mapping is expected here")
            _known_fields(body, objects[name], place / str(body.get("name")))
    return raw


def _known_fields(body: Any, message: Message, place: _Place) -> None:
    """Refuse a body with unknown fields or with values that their types refuse."""
    if not isinstance(body, dict):
        raise place.error("a mapping is expected here")
    for key, value in body.items():
        if key not in message.fields:
            raise (place / key).error("unknown field")
        item = message.fields[key]
        for one in value if item.list else [value]:
            if item.message is not None:
                _known_fields(one, item.message, place / key)
                continue
            try:
                item.leaf.check(one)
            except ValueError as error:
                raise (place / key).error(str(error)) from None

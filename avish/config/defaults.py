"""The objects of a fresh store, and what a store of an earlier release lacks of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from avish.config.config import Body, Change, Config, ref_to
from avish.config.transaction import Put, Request, prepare
from avish.errors import SchemaError
from avish.schema.model import Field, Message, Schema
from avish.schema.types import Ref

FIRST = ("tenant", "cloud", "vrfcontext", "serviceenginegroup")
"""Types that nearly everything belongs to; the rest follows behind what it refers to."""
FIXED_UUIDS = {("tenant", "admin"): "admin", ("user", "admin"): "user-admin"}


def system_defaults(schema: Schema, now_us: int, config: Config | None = None) -> tuple[Change, ...]:
    """The changes that bring in every system object ``config`` lacks; without one, those that make revision 1.

    SchemaError when the grammar's own defaults are not sound.
    """
    base = config or Config()
    requests: list[Request] = [
        Put(kind, _uuid(schema, kind, body), body, new=True)
        for kind in _kinds(schema)
        for body in schema.defaults.get(kind, [{}] if schema.object(kind).singleton else [])
        if not _there(schema, base, kind, body)
    ]
    prepared = prepare(schema, base, requests, now_us)
    if prepared.errors:
        raise SchemaError("system_defaults.yaml: " + "; ".join(map(str, prepared.errors)))
    return prepared.changes


def supplements(schema: Schema, config: Config, now_us: int) -> tuple[Change, ...]:
    """The changes that bring a configuration of an earlier release up to this one: system objects that came since, and
    references that were kept by name to objects that are there now.
    """
    added = system_defaults(schema, now_us, config)
    whole = config.with_changes(added, config.revision)
    linked = [
        Change(kind, body["uuid"], {**fresh, "_last_modified": str(now_us)})
        for kind in config.types()
        if kind in schema.index
        for body in config.all(kind)
        if (fresh := _linked(whole, schema.object(kind), body)) != body
    ]
    return (*added, *linked)


def release_mark(schema: Schema) -> int:
    """A number that differs where ``supplements`` may find something."""
    return zlib.crc32(repr((sorted(schema.index), schema.defaults)).encode())


def _linked(config: Config, message: Message, body: Body) -> Body:
    """The body with references where it has names of objects; a name of nothing stays."""
    return {
        name: _linked_value(config, message.fields[name], value) if name in message.fields else value
        for name, value in body.items()
    }


def _linked_value(config: Config, field: Field, value: Any) -> Any:
    if field.list:
        return [_linked_one(config, field, item) for item in value]
    return _linked_one(config, field, value)


def _linked_one(config: Config, field: Field, value: Any) -> Any:
    if field.message is not None:
        return _linked(config, field.message, value)
    if not isinstance(field.type, Ref) or field.type.loose or str(value).startswith("/api/"):
        return value
    uuid = config.uuid_of(field.type.to, value)
    return ref_to(field.type.to, uuid) if uuid else value


def _there(schema: Schema, config: Config, kind: str, body: Body) -> bool:
    if schema.object(kind).singleton:
        return config.get(kind, kind) is not None
    return config.uuid_of(kind, body["name"]) is not None


def _uuid(schema: Schema, kind: str, body: Body) -> str | None:
    if schema.object(kind).singleton:
        return kind
    return FIXED_UUIDS.get((kind, body["name"]))


def _kinds(schema: Schema) -> list[str]:
    """Types with system objects, in an order in which each finds what it refers to."""
    singletons = [kind.name for kind in schema.objects() if kind.singleton]
    wanted = dict.fromkeys([*FIRST, *schema.defaults, *singletons])
    result: dict[str, None] = dict.fromkeys(FIRST)

    def take(kind: str, above: tuple[str, ...]) -> None:
        if kind in result or kind in above or kind not in wanted:
            return
        for target in _targets(schema.object(kind), schema.defaults.get(kind, [])):
            take(target, (*above, kind))
        result[kind] = None

    for kind in wanted:
        take(kind, ())
    return list(result)


def _targets(message: Message, bodies: Iterable[Body]) -> Iterator[str]:
    """The types that some bodies refer to."""
    for body in bodies:
        for name, value in body.items():
            field = message.fields[name]
            if isinstance(field.type, Ref):
                yield field.type.to
            elif field.message is not None:
                yield from _targets(field.message, value if field.list else [value])

"""The objects of a fresh store, and what a store of an earlier release lacks of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from avish.config.config import Body, Change, Config
from avish.config.transaction import Put, Request, prepare
from avish.config.wellknown import ADMIN_TENANT
from avish.errors import SchemaError
from avish.schema.model import Message, Schema
from avish.schema.types import Ref

FIRST = ("tenant", "cloud", "vrfcontext", "serviceenginegroup")
"""Types that nearly everything belongs to; the rest follows behind what it refers to."""
FIXED_UUIDS = {("tenant", ADMIN_TENANT): ADMIN_TENANT, ("user", "admin"): "user-admin"}


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


def release_mark(schema: Schema) -> int:
    """A number that differs where a store of another release may lack something."""
    return zlib.crc32(repr((sorted(schema.index), schema.defaults)).encode())


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

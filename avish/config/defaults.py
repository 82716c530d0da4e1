"""The objects of a fresh store."""

from __future__ import annotations

from avish.config.config import Change, Config
from avish.config.transaction import Put, Request, prepare
from avish.errors import SchemaError
from avish.schema.model import Schema

FIRST = ("tenant", "cloud", "vrfcontext", "serviceenginegroup")
"""Types that others refer to; the rest follows in the order of the grammar."""
FIXED_UUIDS = {("tenant", "admin"): "admin"}


def system_defaults(schema: Schema, now_us: int) -> tuple[Change, ...]:
    """The changes that make revision 1. SchemaError when the grammar's own defaults are not sound."""
    kinds = [*FIRST, *(kind for kind in schema.defaults if kind not in FIRST)]
    requests: list[Request] = [
        Put(kind, FIXED_UUIDS.get((kind, body["name"])), body, new=True)
        for kind in kinds
        for body in schema.defaults.get(kind, [])
    ]
    prepared = prepare(schema, Config(), requests, now_us)
    if prepared.errors:
        raise SchemaError("system_defaults.yaml: " + "; ".join(map(str, prepared.errors)))
    return prepared.changes

"""A configuration of an earlier release, as this one would have written it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from avish.config.config import Body, Config
from avish.config.normalise import normalise
from avish.config.transaction import Restore
from avish.schema.model import ObjectType, Schema

NOTE = "grammar"
"""The note of the store that says which grammar its objects were last written with."""


def fingerprint(schema: Schema) -> str:
    """Another one when objects would be written differently."""
    return f"{zlib.crc32(b''.join(schema.packed[name] for name in sorted(schema.packed))):08x}"


def upgraded(schema: Schema, config: Config) -> Iterator[Restore]:
    """The objects that this release writes otherwise (fields that are new or gone); what does not fit stays."""
    for kind in schema.objects():
        for stored in config.all(kind.name):
            body = _rewritten(config, kind, stored)
            if body is not None and body != stored:
                yield Restore(kind.name, stored["uuid"], body)


def _rewritten(config: Config, kind: ObjectType, stored: Body) -> Body | None:
    """The object with its stamp, and without fields that are no more; None when it is not sound any more."""
    known = {name: value for name, value in stored.items() if name in kind.fields}
    body, issues = normalise(config, kind, known, stored, stored["uuid"])
    if any(issue.severity == "error" for issue in issues):
        return None
    return {**body, **({"_last_modified": stored["_last_modified"]} if "_last_modified" in stored else {})}

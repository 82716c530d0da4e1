"""References as people and programs write them, turned into the stored form."""

from __future__ import annotations

import difflib
from urllib.parse import parse_qs, unquote, urlsplit

from avish.config.config import Config, ref_to
from avish.schema.types import Ref, ref_name

SUGGESTED_FROM = 2000
"""Names looked through for a suggestion, at most."""


def resolve(config: Config, ref: Ref, value: object) -> str:
    """The stored form of ``value``: ``/api/<type>/<uuid>``, or the name for what is kept by name.

    Taken are absolute and relative URLs with or without ``#name``, ``/api/pool?name=x``, a bare uuid, a bare name.
    Raises ValueError when there is no such object.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not the name of a {ref.to}")
    if ref.loose:
        return ref_name(value)
    uuid = _uuid(config, ref.to, value)
    if uuid is None:
        raise ValueError(_not_found(config, ref.to, ref_name(value)))
    return ref_to(ref.to, uuid)


def _uuid(config: Config, kind: str, value: str) -> str | None:
    if value.startswith(("/", "http://", "https://")):
        parts = urlsplit(value)
        names = parse_qs(parts.query).get("name")
        if names:
            return config.uuid_of(kind, names[0])
        path = [part for part in parts.path.split("/") if part]
        return _known(config, kind, unquote(path[-1])) if kind in path[:-1] else None
    return _known(config, kind, value) or config.uuid_of(kind, value)


def _known(config: Config, kind: str, uuid: str) -> str | None:
    return uuid if config.get(kind, uuid) is not None else None


def _not_found(config: Config, kind: str, name: str) -> str:
    names = [str(body.get("name", "")) for body in config.all(kind)[:SUGGESTED_FROM]]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else f" (configure {kind} {name} first)"
    return f"there is no {kind} {name!r}{hint}"

"""References as people and programs write them, turned into the stored form."""

from __future__ import annotations

import difflib
from urllib.parse import parse_qs, unquote, urlsplit

from avish.config.config import Body, Config, ref_to, uuid_in
from avish.config.wellknown import ADMIN_TENANT
from avish.schema.types import Ref, ref_name

SUGGESTED_FROM = 2000
"""Names looked through for a suggestion, at most."""


PROFILES = frozenset(
    {
        "analyticsprofile", "applicationpersistenceprofile", "applicationprofile", "errorpageprofile", "healthmonitor",
        "ipaddrgroup", "microservicegroup", "networkprofile", "stringgroup", "trafficcloneprofile",
    }
)  # fmt: skip
"""Templates: those of the provider are for every tenant to see and to refer to."""
PRIVATE = frozenset(
    {
        "l4policyset", "natpolicy", "networksecuritypolicy", "pool", "poolgroup", "serverautoscalepolicy",
        "virtualservice", "vsvip",
    }
)  # fmt: skip
"""What forwards: of each tenant for itself, also of the provider."""


def resolve(config: Config, ref: Ref, value: object, tenant: str = ADMIN_TENANT) -> str:
    """The stored form of ``value``: ``/api/<type>/<uuid>``, or the name for what is kept by name.

    ``tenant``: uuid of the one the referring object is in; names are looked up there first.

    Taken are absolute and relative URLs with or without ``#name``, ``/api/pool?name=x``, a bare uuid, a bare name. Of a
    URL with a uuid that is not known here the ``#name`` counts: what one controller shows can be given to another.
    Raises ValueError when there is no such object.
    """
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not the name of a {ref.to}")
    if ref.loose:
        return ref_name(value)
    uuid = _uuid(config, ref.to, value, tenant)
    if uuid is None:
        raise ValueError(_not_found(config, ref.to, ref_name(value), tenant))
    return ref_to(ref.to, uuid)


def _uuid(config: Config, kind: str, value: str, tenant: str) -> str | None:
    if value.startswith(("/", "http://", "https://")):
        parts = urlsplit(value)
        names = parse_qs(parts.query).get("name")
        if names:
            return _named(config, kind, names[0], tenant)
        path = [part for part in parts.path.split("/") if part]
        if kind not in path[:-1]:
            return None
        known = _known(config, kind, unquote(path[-1]), tenant)
        return known or _named(config, kind, unquote(parts.fragment), tenant)  # a uuid of another controller
    return _known(config, kind, value, tenant) or _named(config, kind, value, tenant)


def _named(config: Config, kind: str, name: str, tenant: str) -> str | None:
    found = config.uuid_of(kind, name, tenant)
    return found if found or tenant == ADMIN_TENANT or kind in PRIVATE else config.uuid_of(kind, name)


def _known(config: Config, kind: str, uuid: str, tenant: str) -> str | None:
    """The uuid itself, when there is such an object and the tenant may refer to it."""
    body = config.get(kind, uuid)
    return uuid if body is not None and _reached(kind, body, tenant) else None


def _reached(kind: str, body: Body, tenant: str) -> bool:
    """Whether an object of a tenant may refer to another one."""
    return _owner(body) in ((tenant, "") if kind in PRIVATE else (tenant, ADMIN_TENANT, ""))


def _owner(body: Body) -> str:
    return uuid_in(body.get("tenant_ref"))


def _not_found(config: Config, kind: str, name: str, tenant: str) -> str:
    bodies = [body for body in config.all(kind)[:SUGGESTED_FROM] if _reached(kind, body, tenant)]
    near = difflib.get_close_matches(name, [str(body.get("name", "")) for body in bodies], 1)
    hint = f"; did you mean {near[0]}?" if near else f" (configure {kind} {name} first)"
    if kind in PRIVATE and tenant != ADMIN_TENANT and config.uuid_of(kind, name):
        hint = f" in this tenant; that of tenant admin is for admin alone (configure {kind} {name} here)"
    return f"there is no {kind} {name!r}{hint}"

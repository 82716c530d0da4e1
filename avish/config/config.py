"""The configuration as a value: bodies by type and uuid, with the indexes that keep a commit cheap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zlib import crc32

from avish.config.wellknown import ADMIN_TENANT

Body = dict[str, Any]
"""An object as stored. Shared between revisions: never changed in place."""
SHARDS = 16
WIDE_RANGE = 64
"""A range of more ports than this is not indexed port by port."""
_Table = dict[str, dict[Any, Any]]
"""By type (or group of targets), then by key."""


@dataclass(frozen=True, slots=True)
class Change:
    """``body`` is the whole object from now on; None: it is gone."""

    type: str
    uuid: str
    body: Body | None


class Config:
    """An immutable revision. Tables that a change does not touch are shared with the revision before it."""

    __slots__ = ("_bodies", "_mentions", "_names", "revision")

    def __init__(
        self,
        revision: int = 0,
        bodies: _Table | None = None,
        names: _Table | None = None,
        mentions: _Table | None = None,
    ) -> None:
        self.revision = revision
        self._bodies = bodies or {}
        self._names = names or {}
        self._mentions = mentions or {}

    @classmethod
    def of(cls, revision: int, objects: Iterable[tuple[str, Body]]) -> Config:
        """A configuration from (type, body) in order of creation."""
        return cls().with_changes((Change(kind, body["uuid"], body) for kind, body in objects), revision)

    def get(self, kind: str, uuid: str) -> Body | None:
        """The object, or None."""
        return self._bodies.get(kind, {}).get(uuid)

    def uuid_of(self, kind: str, name: str, tenant: str = ADMIN_TENANT) -> str | None:
        """The uuid of the object of that name, or None."""
        found: str | None = self._names.get(kind, {}).get((tenant, name))
        return found

    def named(self, kind: str, name: str, tenant: str = ADMIN_TENANT) -> Body | None:
        """The object of that name, or None."""
        return self.get(kind, self.uuid_of(kind, name, tenant) or "")

    def all(self, kind: str) -> list[Body]:
        """Every object of a type, in order of creation."""
        return list(self._bodies.get(kind, {}).values())

    def table(self, kind: str) -> dict[str, Body]:
        """Bodies by uuid; read only. The same table as in another revision: nothing of the type differs."""
        return self._bodies.get(kind, {})

    def types(self) -> list[str]:
        """The types that have had objects."""
        return list(self._bodies)

    def referrers(self, uuid: str) -> list[tuple[str, str]]:
        """(type, uuid) of the objects that refer to this one, in no order."""
        return [(kind, referrer) for referrer, kind in self._referring(uuid)]

    def referring(self, uuid: str, kind: str) -> Iterator[str]:
        """The uuids of the objects of one type that refer to this one, in no order."""
        return (referrer for referrer, other in self._referring(uuid) if other == kind)

    def vsvips_with(self, address: str) -> list[str]:
        """The uuids of the vsvips that hold this address."""
        return list(self.referring(_address_key(address), "vsvip"))

    def services_calling_from(self, address: str) -> list[str]:
        """The uuids of the virtual services that have this address among those to call their servers from."""
        return list(self.referring(_address_key(address), "virtualservice"))

    def services_near(self, vsvip: str, first: int, last: int) -> set[str]:
        """The uuids of the virtual services on a vsvip that may have a port in ``first``-``last``: none is left out."""
        keys = _port_keys(vsvip, first, last)
        if keys == [_wide_key(vsvip)]:
            return set(self.referring(vsvip, "virtualservice"))
        return {uuid for key in [*keys, _wide_key(vsvip)] for uuid in self.referring(key, "virtualservice")}

    def _referring(self, target: str) -> Iterator[tuple[str, str]]:
        for bucket in _buckets(target.partition("-")[0]):
            table = self._mentions.get(bucket)
            if table and target in table:
                yield from table[target].items()

    def target(self, ref: str | None) -> Body | None:
        """The object a stored reference (``/api/pool/<uuid>``) leads to."""
        if not ref or not ref.startswith("/api/"):
            return None
        kind, _, uuid = ref[5:].partition("/")
        return self.get(kind, uuid)

    def with_changes(self, changes: Iterable[Change], revision: int) -> Config:
        """The configuration after ``changes``."""
        draft = self.draft(revision)
        for change in changes:
            draft.put(change)
        return draft.freeze()

    def draft(self, revision: int) -> Draft:
        """To be changed step by step; this revision stays as it is."""
        return Draft(revision, dict(self._bodies), dict(self._names), dict(self._mentions))


class Draft(Config):
    """A Config being made: copies a table when it first changes it, once."""

    __slots__ = ("_owned",)

    def __init__(self, revision: int, bodies: _Table, names: _Table, mentions: _Table) -> None:
        super().__init__(revision, bodies, names, mentions)
        self._owned: set[tuple[Any, ...]] = set()

    def put(self, change: Change) -> None:
        """Carry out one change."""
        bodies = self._own(self._bodies, change.type)
        old = bodies.get(change.uuid)
        self._rename(change, old)
        self._remention(change, old)
        if change.body is None:
            bodies.pop(change.uuid, None)
        else:
            bodies[change.uuid] = change.body

    def freeze(self) -> Config:
        """The finished value; the draft is not used afterwards."""
        return Config(self.revision, self._bodies, self._names, self._mentions)

    def _own(self, table: _Table, key: str) -> dict[Any, Any]:
        mark = (id(table), key)
        if mark not in self._owned:
            self._owned.add(mark)
            table[key] = dict(table.get(key, {}))
        return table[key]

    def _rename(self, change: Change, old: Body | None) -> None:
        before, after = _name_key(old), _name_key(change.body)
        if before == after:
            return
        names = self._own(self._names, change.type)
        if before is not None and names.get(before) == change.uuid:
            del names[before]
        if after is not None:
            names[after] = change.uuid

    def _remention(self, change: Change, old: Body | None) -> None:
        before, after = _mentioned(old), _mentioned(change.body)
        for target in before - after:
            self._unmention(change.uuid, target)
        for target in after - before:
            self._referrers_beside(change.uuid, target)[change.uuid] = change.type

    def _unmention(self, referrer: str, target: str) -> None:
        referrers = self._referrers_beside(referrer, target)
        referrers.pop(referrer, None)
        if not referrers:
            shard = crc32(referrer.encode()) % SHARDS
            del self._mentions[_bucket(target, shard)][target]
            self._owned.discard((target, shard))

    def _referrers_beside(self, referrer: str, target: str) -> dict[str, str]:
        shard = crc32(referrer.encode()) % SHARDS
        bucket = self._own(self._mentions, _bucket(target, shard))
        if (target, shard) not in self._owned:
            self._owned.add((target, shard))
            bucket[target] = dict(bucket.get(target, {}))
        return bucket[target]  # type: ignore[no-any-return]


def ref_to(kind: str, uuid: str) -> str:
    """The stored form of a reference."""
    return f"/api/{kind}/{uuid}"


def uuid_in(ref: str | None) -> str:
    """The uuid in a stored reference; "" when there is none."""
    return ref.rpartition("/")[2] if ref else ""


def title(kind: str, body: Body) -> str:
    """How an object is called in error texts: ``pool web``; a singleton without a name by its type alone."""
    name = body.get("name") or body.get("uuid", "")
    return kind if name in ("", kind) else f"{kind} {name}"


def _name_key(body: Body | None) -> tuple[str, str] | None:
    if body is None or "name" not in body:
        return None
    return uuid_in(body.get("tenant_ref")) or ADMIN_TENANT, body["name"]


@lru_cache(maxsize=4096)
def _buckets(begin: str) -> tuple[str, ...]:
    """Mentions are kept in small tables, by the type in the target's uuid and by referrer: a change copies few of them.

    Everything mentions its tenant, cloud and VRF: without shards each new object would copy all those mentions.
    """
    return tuple(f"{begin}/{shard}" for shard in range(SHARDS))


def _bucket(target: str, shard: int) -> str:
    return _buckets(target.partition("-")[0])[shard]


def _address_key(address: str) -> str:
    """A VIP mentions its address, as if the address were an object."""
    return f"address-{address}"


def _wide_key(vsvip: str) -> str:
    return f"ports-{vsvip}"


def _port_keys(vsvip: str, first: int, last: int) -> list[str]:
    """A virtual service mentions each of its ports, or one key for a range too wide for that."""
    if last - first >= WIDE_RANGE:
        return [_wide_key(vsvip)]
    return [f"port-{vsvip}/{port}" for port in range(first, last + 1)]


def _mentioned(body: Body | None) -> set[str]:
    if body is None:
        return set()
    found = set(_walk(body))
    vsvip = uuid_in(body.get("vsvip_ref"))
    for item in body.get("services", []) if vsvip else []:
        if "port" not in item:
            continue  # in a draft that is going to be refused
        found.update(_port_keys(vsvip, item["port"], item.get("port_range_end") or item["port"]))
    return found


def _walk(body: Body) -> Iterator[str]:
    for key, value in body.items():
        if isinstance(value, dict):
            yield from _walk(value)
        elif isinstance(value, list):
            yield from _walk_list(key, value)
        elif key.endswith("_ref") and value.startswith("/api/"):
            yield uuid_in(value)


def _walk_list(key: str, values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            yield from _walk(value)
            if key == "vip":
                yield from (
                    _address_key(value[name]["addr"]) for name in ("ip_address", "ip6_address") if name in value
                )
            elif key in ("snat_ip", "snat_ip6_addresses"):
                yield _address_key(value["addr"])
        elif key.endswith("_refs") and value.startswith("/api/"):
            yield uuid_in(value)

"""A body as it came, turned into the body as it is stored: checked against the grammar, canonical, complete."""

from __future__ import annotations

import difflib
import re
import uuid
from typing import Any

from avish.config.autos import AUTOS
from avish.config.config import Body, Config, ref_to, title, uuid_in
from avish.config.references import resolve
from avish.config.wellknown import ADMIN_TENANT, DEFAULT_CLOUD, GLOBAL_VRF
from avish.errors import Issue
from avish.schema.model import Field, Message, ObjectType
from avish.schema.types import SENSITIVE, Ref, Secret

DROPPED = frozenset({"url", "extension", "configpb_attributes", "runtime"})
"""Keys that clients send along and that nobody may set."""
HOMES = (
    ("tenant_ref", "tenant", ADMIN_TENANT),
    ("cloud_ref", "cloud", DEFAULT_CLOUD),
    ("vrf_ref", "vrfcontext", GLOBAL_VRF),
    ("vrf_context_ref", "vrfcontext", GLOBAL_VRF),
)
"""Field, type and name of where an object belongs that does not say."""
UUID = re.compile(r"[a-z0-9]+-[A-Za-z0-9_.-]{1,100}")


def is_uuid(kind: str, given: Any) -> bool:
    """Whether an identifier that came from outside may be that of an object of a type."""
    return isinstance(given, str) and given.startswith(f"{kind}-") and UUID.fullmatch(given) is not None


def new_uuid(kind: str) -> str:
    """A fresh identifier, in the vendor's form."""
    return f"{kind}-{uuid.uuid4()}"


def normalise(
    config: Config, kind: ObjectType, body: Body, existing: Body | None, identity: str = ""
) -> tuple[Body, list[Issue]]:
    """The body as stored, fields in the order of the grammar, and every issue with its path.

    ``config``: where references are looked up. ``existing``: the object before, for what nobody may set; ``identity``:
    the uuid of a new one. The body is only fit to be stored when no issue is an error.
    """
    work = _Work(config, title(kind.name, body), _tenant(config, body))
    result = work.message(kind, {**_homes(config, kind), **_given(body)}, "", existing or {})
    result["uuid"] = existing["uuid"] if existing else identity or new_uuid(kind.name)
    for name, field in kind.fields.items():
        if field.read_only and name != "uuid" and existing and name in existing:
            result[name] = existing[name]
    sound = not work.issues
    if sound and kind.name in AUTOS:
        AUTOS[kind.name](result)
    work.required(kind, result, "", autos=sound)
    return {name: result[name] for name in kind.fields if name in result}, work.issues


def _tenant(config: Config, body: Body) -> str:
    """The uuid of the tenant that an object with a reference in stored form belongs to; else the administrator's."""
    given = body.get("tenant_ref")
    uuid = uuid_in(given) if isinstance(given, str) else ""
    return uuid if config.get("tenant", uuid) else ADMIN_TENANT


def _given(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None and value != ""}


def _homes(config: Config, kind: ObjectType) -> Body:
    found = {name: (to, config.uuid_of(to, named)) for name, to, named in HOMES if name in kind.fields}
    return {name: ref_to(to, uuid) for name, (to, uuid) in found.items() if uuid}


class _Work:
    """Walks a body along its message; collects issues instead of stopping at the first."""

    def __init__(self, config: Config, where: str, tenant: str = ADMIN_TENANT) -> None:
        self.config = config
        self.tenant = tenant
        self.where = where
        self.issues: list[Issue] = []

    def message(self, message: Message, body: Body, path: str, old: Body) -> Body:
        """Known fields in row order, checked; defaults where nothing is given. ``old``: the same message before."""
        self._unknown(message, body, path)
        result: Body = {}
        for name, field in message.fields.items():
            given = None if field.read_only else body.get(name)
            if given is None:
                given = field.default
                if given is None:
                    continue
                if not isinstance(field.type, Ref):
                    result[name] = given
                    continue
            place = f"{path}.{name}" if path else name
            was = old.get(name)
            value = self._list(field, given, place, was) if field.list else self._one(field, given, place, was)
            if value is not None:
                result[name] = value
        return result

    def required(self, message: Message, result: Body, path: str, *, autos: bool) -> None:
        """Say what is missing, at every level; ``autos``: the controller had its chance to fill its own fields."""
        for name, field in message.fields.items():
            place = f"{path}.{name}" if path else name
            if name in result:
                for item_path, item in _items(field, result[name], place):
                    self.required(field.nested, item, item_path, autos=autos)
            elif field.required and (autos or not field.auto) and not self._refused(place):
                self._error(place, f"{name} is missing ({_hint(field)})")

    def _refused(self, place: str) -> bool:
        """Whether something was given that could not be taken: it is not missing as well."""
        full = f"{self.where} {place}"
        return any(issue.path == full or issue.path.startswith(f"{full}[") for issue in self.issues)

    def _unknown(self, message: Message, body: Body, path: str) -> None:
        for name in body.keys() - message.fields.keys() - DROPPED:
            if not name.endswith(("_name", "_data")):
                near = difflib.get_close_matches(name, message.fields, 1)
                self._error(path, f"there is no field {name!r}" + (f"; did you mean {near[0]}?" if near else ""))

    def _list(self, field: Field, given: Any, path: str, was: Any) -> list[Any] | None:
        if not isinstance(given, list):
            self._error(path, "a list is expected")
            return None
        if field.max_items and len(given) > field.max_items:
            self._error(path, f"{len(given)} entries are too many: at most {field.max_items}")
        if given and len(given) < field.min_items:
            self._error(path, f"{len(given)} entries are too few: at least {field.min_items}")
        values = [
            self._one(field, value, f"{path}[{number}]", _before(field, value, was))
            for number, value in enumerate(given, 1)
        ]
        if field.message is not None:
            self._twins(field.nested, values, path)
        return [value for value in values if value is not None] or None

    def _twins(self, message: Message, values: list[Body | None], path: str) -> None:
        """No two elements with the same key; an element that gives none of its key fields is told from nothing."""
        seen: dict[str, int] = {}
        for number, value in enumerate(values, 1):
            key = {name: value[name] for name in message.key if name in value} if value else {}
            if key and (first := seen.setdefault(repr(key), number)) != number:
                shown = ", ".join(f"{name} {_shown(message.fields[name], part)}" for name, part in key.items())
                self._error(f"{path}[{number}]", f"{shown} stands in entry {first} already; change one or remove it")

    def _one(self, field: Field, given: Any, path: str, was: Any) -> Any:
        if field.message is not None:
            if isinstance(given, dict):
                return self.message(field.nested, given, path, was or {})
            self._error(path, f"a message is expected ({_hint(field)})")
            return None
        if isinstance(field.type, Secret) and given == SENSITIVE:
            return self._kept(path, was)
        try:
            if isinstance(field.type, Ref):
                return resolve(self.config, field.type, given, self.tenant)
            return field.leaf.check(given)
        except ValueError as error:
            self._error(path, str(error))
            return None

    def _kept(self, path: str, was: Any) -> Any:
        """A secret that comes back as it was shown stays what it is."""
        if was is None:
            self._error(path, f"{SENSITIVE} stands for a secret, and there is none yet; give the secret itself")
        return was

    def _error(self, path: str, text: str) -> None:
        self.issues.append(Issue(f"{self.where} {path}" if path else self.where, text))


def _before(field: Field, given: Any, was: Any) -> Body | None:
    """The element of the list before that has the key of ``given``; None when there is none, or no key."""
    if field.message is None or not field.message.key or not isinstance(given, dict):
        return None
    key = [given.get(name) for name in field.message.key]
    return next((old for old in was or [] if [old.get(name) for name in field.message.key] == key), None)


def _items(field: Field, value: Any, path: str) -> list[tuple[str, Body]]:
    """The messages under a field, each with its path; none under a leaf."""
    if field.message is None:
        return []
    if field.list:
        return [(f"{path}[{number}]", item) for number, item in enumerate(value, 1)]
    return [(path, value)]


def _hint(field: Field) -> str:
    """How to give a field on the CLI: ``action, then type <word>``."""
    if field.message is None:
        return f"{field.name} {field.leaf.label}"
    for name, inner in field.nested.fields.items():
        if inner.required and inner.message is None and not inner.auto:
            return f"{field.name}, then {name} {inner.leaf.label}"
    return field.name


def _shown(field: Field, value: Any) -> str:
    return field.leaf.format(value) if field.message is None else "with these values"

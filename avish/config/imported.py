"""A configuration file in the vendor's shape, read into requests: what is held is taken, all else is told.

The shape: object types as keys (``Pool``), each with a list of objects; references by name
(``/api/pool/?tenant=admin&name=web&cloud=Default-Cloud``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from avish.config.config import Body, Config, title
from avish.config.normalise import HOMES, is_uuid, new_uuid
from avish.config.ordered import ordered
from avish.config.target import Target
from avish.config.transaction import Put, Refused, Request
from avish.config.wellknown import ENGINE, FOUND
from avish.errors import Issue, ValidationError
from avish.schema.model import Field, Message, ObjectType, Schema
from avish.schema.types import SENSITIVE, Ref, Secret

ABOUT = "META"
DEEPEST = 40
"""No object of the vendor's is nested as deeply."""
MOST = 300_000
"""Objects of one file."""
SILENT = frozenset({"url", "uuid", "_last_modified"})
"""What the controller gives to every object by itself."""
HOME = {to: named for _, to, named in HOMES}
HIDDEN = "a secret that the file does not hold in clear; set it again here"
INCOMPLETE = "cannot be without its secret, which the file does not hold in clear; set it again here"
UNKNOWN = "this product has no such object"
NO_FIELD = "this product has no such field"
OWN = "the controller fills it by itself"


@dataclass(slots=True, eq=False)
class Entry:
    """An object of the file. ``place``: where it stands (``Pool[2]``); ``body``: what is taken of it.

    ``needs``: (path, entry) of what it refers to in the same file.
    """

    kind: ObjectType
    place: str
    given: Body
    tenant: str
    cloud: str
    uuid: str = ""
    existing: Body | None = None
    body: Body = field(default_factory=dict)
    needs: list[tuple[str, Entry]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name; that of its type for the one object of a singleton."""
        return self.kind.name if self.kind.singleton else str(self.given["name"])

    @property
    def where(self) -> str:
        """As error texts call it."""
        return f"{self.place} ({title(self.kind.name, self.given)})"


Counted = dict[tuple[str, ...], list[str]]
"""By type (and field) and reason, the names of the objects."""


@dataclass
class Plan:
    """What becomes of a file. ``left_out``: by (type, reason); ``fields_left_out``: by (type, field, reason)."""

    entries: list[Entry]
    left_out: Counted
    fields_left_out: Counted
    refused: list[Issue]
    _gone: set[int] = field(default_factory=set)

    @cached_property
    def _dependants(self) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            for _, other in entry.needs:
                found[id(other)].append(entry)
        return found

    def leave_out(self, entry: Entry, reason: str) -> None:
        """Do without an object, and without those that need it."""
        waiting = [(entry, reason)]
        while waiting:
            one, why = waiting.pop()
            if id(one) in self._gone:
                continue
            self._gone.add(id(one))
            self.left_out[one.kind.title, why].append(one.name)
            because = f"refers to {one.kind.title} objects that were left out"
            waiting += [(other, because) for other in self._dependants.get(id(one), ())]

    @property
    def taken(self) -> list[Entry]:
        """The objects that are taken, each behind those it refers to; ValidationError where they go in a circle."""
        kept = (entry for entry in self.entries if id(entry) not in self._gone)
        return list(ordered(kept, lambda entry: [other for _, other in entry.needs], _circle))

    def requests(self) -> tuple[list[Entry], list[Request]]:
        """The entries and requests in the same order; behind them, what refuses the whole file."""
        taken = self.taken
        requests: list[Request] = [
            Put(one.kind.name, one.uuid, one.body, new=one.existing is None and not one.kind.names) for one in taken
        ]
        return taken, [*requests, *(Refused((issue,), 400) for issue in self.refused)]


def _circle(way: list[Entry], needed: Entry) -> None:
    """ValidationError: none of these can be the first, unless one of the two at the end is there already."""
    one = way[-1]
    if one.existing or needed.existing:
        return
    path = next(path for path, other in one.needs if other is needed)
    circle = " -> ".join(each.where for each in [*way[way.index(needed) :], needed])
    raise ValidationError([Issue(f"{one.place} {path}", f"cyclic references: {circle}; none of them can be first")])


def read(schema: Schema, config: Config, document: Any, engines: Collection[str], *, keep_uuid: bool) -> Plan:
    """What to do with a file; ValidationError when it is none. ``engines``: the names of those that are here."""
    _shape(document)
    return _Reader(schema, config, document, engines, keep_uuid=keep_uuid).plan()


def _shape(document: Any) -> None:
    if not isinstance(document, dict) or not any(key != ABOUT for key in document):
        raise ValidationError('a configuration is an object with types as keys, such as {"Pool": [{"name": ...}]}')
    stack: list[tuple[Any, str, int]] = [(document, "", 0)]
    while stack:
        value, path, depth = stack.pop()
        if depth > DEEPEST:
            raise ValidationError([Issue(path, f"is nested more than {DEEPEST} levels deep: no object is like that")])
        if isinstance(value, dict):
            items = ((name, f"{path}.{name}" if path else str(name)) for name in value)
            stack += [(value[name], place, depth + 1) for name, place in items if isinstance(value[name], dict | list)]
        elif isinstance(value, list):
            stack += [
                (one, f"{path}[{number}]", depth + 1)
                for number, one in enumerate(value, 1)
                if isinstance(one, dict | list)
            ]


class _Reader:
    def __init__(
        self, schema: Schema, config: Config, document: Body, engines: Collection[str], *, keep_uuid: bool
    ) -> None:
        self.schema, self.config, self.document, self.engines = schema, config, document, engines
        self.keep_uuid = keep_uuid
        about = document.get(ABOUT)
        self.encrypted = bool(about.get("encrypted_sensitive_fields")) if isinstance(about, dict) else False
        self.by_title = {kind.title: kind for kind in schema.objects()} | {kind.name: kind for kind in schema.objects()}
        self.result = Plan([], defaultdict(list), defaultdict(list), [])
        self.by_name: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        self.by_uuid: dict[str, Entry] = {}
        self.names: dict[str, str] = {}
        """Of objects that are not held, by uuid."""
        self.dropped: dict[int, str] = {}

    def plan(self) -> Plan:
        """Everything in order: objects found, told apart, their fields read, what cannot be taken left out."""
        for key, value in self.document.items():
            if key != ABOUT:
                self._type(key, value)
        if len(self.result.entries) > MOST:
            raise ValidationError(f"{len(self.result.entries)} objects are too many: at most {MOST}")
        self._twins()
        for entry in self.result.entries:
            self._identify(entry)
        for entry in self.result.entries:
            body = self._message(entry, entry.kind, entry.given, "", entry.existing or {})
            if body is None:
                self.dropped.setdefault(id(entry), INCOMPLETE)
            entry.body = body or {}
        for entry in self.result.entries:
            if reason := self.dropped.get(id(entry)) or self._unfit(entry):
                self.result.leave_out(entry, reason)
        return self.result

    # --- objects

    def _type(self, key: str, value: Any) -> None:
        kind = self.by_title.get(key)
        if kind is None:
            self._not_held(key, value)
            return
        objects = [value] if kind.singleton and isinstance(value, dict) else value
        if not isinstance(objects, list):
            self._refuse(key, "a list of objects is expected")
            return
        if kind.singleton and len(objects) > 1:
            self._refuse(key, "there is always exactly one of these; the file has several")
            return
        for number, given in enumerate(objects, 1):
            self._object(kind, f"{key}[{number}]", given)

    def _not_held(self, key: str, value: Any) -> None:
        objects = value if isinstance(value, list) else [value]
        reason = self.schema.outside.get(key.lower(), UNKNOWN)
        names = [str(one.get("name", "")) if isinstance(one, dict) else "" for one in objects]
        if names:
            self.result.left_out[key, reason] += names
        for one in objects:
            if isinstance(one, dict) and isinstance(one.get("uuid"), str):
                self.names[one["uuid"]] = str(one.get("name", ""))

    def _object(self, kind: ObjectType, place: str, given: Any) -> None:
        if not isinstance(given, dict):
            self._refuse(place, "an object is expected")
        elif not kind.singleton and not (isinstance(given.get("name"), str) and given["name"]):
            self._refuse(place, "name is missing" if "name" not in given else "name: a text is expected")
        else:
            cloud = self._home(given, "cloud") if "cloud_ref" in kind.fields else ""
            entry = Entry(kind, place, given, self._home(given, "tenant"), cloud)
            self.result.entries.append(entry)
            self.by_name[kind.name, entry.name].append(entry)
            if isinstance(given.get("uuid"), str):
                self.by_uuid[given["uuid"]] = entry

    def _home(self, given: Body, kind: str) -> str:
        """The name of the tenant or cloud an object belongs to."""
        target = Target.of(given.get(f"{kind}_ref"))
        known = self.config.get(kind, target.uuid)
        return target.name or str(known["name"] if known else HOME[kind])

    def _twins(self) -> None:
        """Names are unique within a tenant: of those in several clouds, that of the default cloud is taken."""
        twins: set[int] = set()
        for (_, name), entries in self.by_name.items():
            if len(entries) == 1:
                continue
            chosen: dict[str, Entry] = {}
            for entry in sorted(entries, key=lambda one: one.cloud != HOME["cloud"]):
                first = chosen.setdefault(entry.tenant, entry)
                if first is entry:
                    continue
                if first.cloud == entry.cloud:
                    twins.add(id(entry))
                    self._refuse(entry.place, f"there is a {entry.kind.word} {name} in the file already: {first.place}")
                else:
                    self.dropped[id(entry)] = f"has the name of one in cloud {first.cloud}: here a name is there once"
        self.result.entries = [entry for entry in self.result.entries if id(entry) not in twins]

    def _identify(self, entry: Entry) -> None:
        """Which object it is here: with ``keep_uuid`` that of its uuid, else that of its name; or a new one."""
        kind, config, given = entry.kind, self.config, entry.given.get("uuid")
        if kind.singleton:
            entry.uuid, entry.existing = kind.name, config.get(kind.name, kind.name)
            return
        kept = str(given) if self.keep_uuid and is_uuid(kind.name, given) else ""
        tenant = config.uuid_of("tenant", entry.tenant) or entry.tenant
        known = kept if config.get(kind.name, kept) else config.uuid_of(kind.name, entry.name, tenant)
        entry.uuid = known or kept or new_uuid(kind.name)
        entry.existing = config.get(kind.name, known) if known else None
        if kind.names and entry.existing is None:
            entry.uuid = config.uuid_of(kind.names, entry.name, tenant) or entry.uuid

    def _unfit(self, entry: Entry) -> str:
        """Why a held type's object cannot be taken; "" when it can."""
        kind, given = entry.kind.name, entry.given
        if ENGINE in (kind, entry.kind.names) and entry.name not in self.engines:
            return "engines come from the topology, and none of this name is here"
        if kind == "virtualservice" and given.get("type") == "VS_TYPE_VH_CHILD":
            return "virtual hosting chooses by the server's name, which is layer 7; this dataplane carries layer 4 only"
        if kind == "vsvip" and not all(map(_has_address, _list(given.get("vip")))):
            return "its addresses are allocated by a provider; there is none here"
        return ""

    # --- fields

    def _message(self, entry: Entry, message: Message, given: Body, path: str, old: Mapping[str, Any]) -> Body | None:
        """What is taken of a message; what is not is written down. None: it needs a secret that is not in the file."""
        taken = self._fields(entry, message, given, path, old)
        if all(name in taken or given.get(name) is None for name in _secrets(message)):
            return taken
        if path:
            self._field_left(entry, path, INCOMPLETE)
        return None

    def _fields(self, entry: Entry, message: Message, given: Body, path: str, old: Mapping[str, Any]) -> Body:
        taken: Body = {}
        for name, value in given.items():
            place = f"{path}.{name}" if path else name
            item = message.fields.get(name)
            if value is None or (not path and name in SILENT):
                continue
            if item is None:
                if not (name == "url" or value in ("", [], {})):
                    self._field_left(entry, place, NO_FIELD)
            elif item.read_only or (entry.kind.name == ENGINE and place == FOUND):
                if value not in (old.get(name), item.default):
                    self._field_left(entry, place, OWN)
            else:
                found = self._field(entry, item, value, place, old.get(name))
                if found is not None:
                    taken[name] = found
        if entry.kind.name == ENGINE and not path and FOUND in old:
            taken[FOUND] = old[FOUND]
        return taken

    def _field(self, entry: Entry, item: Field, value: Any, place: str, old: Any) -> Any:
        if item.list and isinstance(value, list):
            was = old if isinstance(old, list) and len(old) == len(value) else [None] * len(value)
            found = [self._one(entry, item, one, place, before) for one, before in zip(value, was, strict=True)]
            return [one for one in found if one is not None]
        return self._one(entry, item, value, place, old)

    def _one(self, entry: Entry, item: Field, value: Any, place: str, old: Any) -> Any:
        if item.message is not None and isinstance(value, dict):
            return self._message(entry, item.message, value, place, old if isinstance(old, dict) else {})
        if isinstance(item.type, Ref) and isinstance(value, str) and value:
            return self._ref(entry, item.type, value, place)
        if isinstance(item.type, Secret) and self._is_hidden(value) and not (value == SENSITIVE and old):
            self._field_left(entry, place, HIDDEN)
            return SENSITIVE if old and item.required else None
        return value

    def _is_hidden(self, value: Any) -> bool:
        text = str(value)
        return self.encrypted or text == SENSITIVE or ('"str"' in text and '"iv"' in text)

    def _ref(self, entry: Entry, ref: Ref, value: str, place: str) -> str:
        """The stored form where the target is known; else as it came, for the check of the whole to refuse."""
        target = Target.of(value)
        if ref.loose:
            return target.name or self.names.get(target.uuid, "") or target.uuid
        found = self._in_file(ref.to, target)
        if found is not None:
            if found is not entry:
                entry.needs.append((place, found))
            elif not entry.existing:
                self._refuse(f"{entry.place} {place}", f"{entry.name} refers to itself")
            return f"/api/{ref.to}/{found.uuid}"
        tenant = self.config.uuid_of("tenant", target.tenant or entry.tenant) or entry.tenant
        for name in target.names:
            uuid = self.config.uuid_of(ref.to, name, tenant) or self.config.uuid_of(ref.to, name)
            if uuid is not None:
                return f"/api/{ref.to}/{uuid}"
        return value if target.uuid else target.name

    def _in_file(self, kind: str, target: Target) -> Entry | None:
        """The object of the file that is meant; in the same cloud, if the reference names one."""
        by_uuid = self.by_uuid.get(target.uuid)
        if by_uuid is not None and by_uuid.kind.name == kind:
            return by_uuid
        for name in target.names:
            found = [one for one in self.by_name.get((kind, name), ()) if target.tenant in ("", one.tenant)]
            best = [one for one in found if target.cloud == one.cloud] or [
                one for one in found if id(one) not in self.dropped
            ]
            if best:
                return best[0]
        return None

    def _field_left(self, entry: Entry, place: str, reason: str) -> None:
        self.result.fields_left_out[entry.kind.title, place, reason].append(entry.name)

    def _refuse(self, path: str, text: str) -> None:
        self.result.refused.append(Issue(path, text))


def _secrets(message: Message) -> list[str]:
    """The secrets without which a message cannot be."""
    fields = message.fields.values()
    return [one.name for one in fields if one.required and one.default is None and isinstance(one.type, Secret)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _has_address(vip: Any) -> bool:
    return not isinstance(vip, dict) or "ip_address" in vip or "ip6_address" in vip


def counted(found: Counted) -> Iterator[tuple[tuple[str, ...], int]]:
    """What was left out, the most frequent first."""
    return iter(sorted(((key, len(names)) for key, names in found.items()), key=lambda one: (-one[1], one[0])))

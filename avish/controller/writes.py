"""REST writes, single ones and transactions, as the Puts and Deletes of one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from avish.config.config import Body, Config, ref_to
from avish.config.normalise import is_uuid, new_uuid
from avish.config.references import resolve
from avish.config.transaction import Delete, Put, Refused, Request
from avish.config.wellknown import ADMIN_TENANT, ENGINE
from avish.controller import debug
from avish.controller.access import WRITE, Scope
from avish.controller.bodies import patched
from avish.controller.reads import Reads
from avish.errors import Issue, ValidationError
from avish.schema.model import ObjectType
from avish.schema.types import Ref

METHODS = ("POST", "PUT", "PATCH", "DELETE")
TENANT = Ref("tenant")
EVERYWHERE = Scope(tenant=ADMIN_TENANT)


@dataclass(frozen=True, slots=True)
class Write:
    """One write as it came. ``uuid`` "" when the object is named by ``name`` (or is new)."""

    method: str
    kind: ObjectType
    uuid: str = ""
    name: str = ""
    body: Any = None
    slug: str = ""


def requests_of(
    writes: Iterable[Write | Refused], head: Config, reads: Reads, scope: Scope = EVERYWHERE
) -> list[Request]:
    """The writes as requests to change ``head``; those that cannot be meant are refused together with all others.

    ``scope``: where the writer works, and what it may do there.
    """
    batch = _Batch(head, reads, scope)
    for write in writes:
        batch.add(write)
    return batch.requests


@dataclass
class _Batch:
    """Writes turned into requests; each sees the names and bodies of those before it."""

    config: Config
    reads: Reads
    scope: Scope
    requests: list[Request] = field(default_factory=list)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _bodies: dict[str, Body] = field(default_factory=dict)

    def add(self, write: Write | Refused) -> None:
        """Append one write, or why it is none."""
        if isinstance(write, Refused):
            self.requests.append(write)
            return
        try:
            self._add(write)
        except ValidationError as error:
            self.requests.append(Refused(tuple(error.issues), error.http_status))

    def _add(self, write: Write) -> None:
        if write.method == "POST":
            self.scope.require_write(write.kind.name, None)
            uuid = self._fresh_uuid(write)
            if write.kind.names:
                self._lent(write.kind, uuid)
            self._put(write, uuid, _object(write), new=True)
            return
        uuid = write.uuid or self._uuid_of(write)
        self._own(write.kind, uuid)
        if write.method == "DELETE":
            self._delete(write.kind, uuid, _seen(write.body))
        elif write.method == "PUT":
            self._put(write, uuid, _object(write), new=False)
        else:
            self._put(write, uuid, patched(self._present(write.kind, uuid), write.body), new=False)

    def _own(self, kind: ObjectType, uuid: str) -> None:
        """ValidationError unless the object may be seen (404) and changed (403) from here."""
        body = self._bodies.get(uuid) or self.config.get(kind.name, uuid)
        if body is not None and not self.scope.sees(kind.name, body):
            raise ValidationError(f"{kind.title} object {uuid} not found!", status=404)
        self.scope.require_write(kind.name, None if kind.names else body)
        if kind.names:
            self._lent(kind, uuid)

    def _lent(self, kind: ObjectType, uuid: str) -> None:
        """ValidationError unless the debug object is that of something he sees (404), where he may capture (403)."""
        body = debug.owned(self.config, kind, self.reads.stored(self.config, kind, uuid))
        if not self.scope.sees(kind.name, body):
            raise ValidationError(f"{kind.title} object {uuid} not found!", status=404)
        self.scope.require_there(kind.name, body, WRITE)

    def _put(self, write: Write, uuid: str, body: Body, *, new: bool) -> None:
        kind = write.kind
        sent = {name: value for name, value in body.items() if name != debug.STATUS}
        if "tenant_ref" in kind.fields and not kind.names:
            sent["tenant_ref"] = self._tenant(sent, self.config.get(kind.name, uuid))
        if kind.names:
            sent["name"] = self.reads.stored(self.config, kind, uuid)["name"]
        if kind.name == ENGINE:
            self._of_topology(str(sent.get("name", "")))
        self._names[kind.name, str(sent.get("name", ""))] = uuid
        self._bodies[uuid] = sent
        missing = kind.singleton and self.config.get(kind.name, uuid) is None
        self.requests.append(Put(kind.name, uuid, sent, _stamp(sent), new or missing))

    def _tenant(self, sent: Body, existing: Body | None) -> str:
        """Where the object belongs: where it was, else where the writer works; another one is refused."""
        home = (existing or {}).get("tenant_ref") or ref_to("tenant", self.scope.tenant)
        given = sent.get("tenant_ref")
        if given and _tenant_ref(self.config, given) != home:
            name = (self.config.target(home) or {}).get("name", "")
            raise ValidationError(f"tenant_ref: an object made or changed here belongs to tenant {name}; switch first")
        return str(home)

    def _delete(self, kind: ObjectType, uuid: str, seen: str | None) -> None:
        if kind.names:  # it goes back to its defaults, for it always exists
            name = self.reads.stored(self.config, kind, uuid)["name"]
            self.requests.append(Put(kind.name, uuid, {"name": name}, seen))
        elif kind.name == ENGINE and (name := self._present(kind, uuid).get("name")) in self.reads.engine_names:
            raise ValidationError(f"serviceengine {name} runs here: it goes when the topology no longer has it", 403)
        else:
            self.requests.append(Delete(kind.name, uuid, seen))

    def _of_topology(self, name: str) -> None:
        """Engines come from the topology: an object without one would promise what nothing does."""
        known = self.reads.engine_names
        if name not in known:
            has = ", ".join(sorted(known)) or "none"
            raise ValidationError(f"there is no service engine {name!r}: engines come from the topology (here: {has})")

    def _fresh_uuid(self, write: Write) -> str:
        kind = write.kind
        if kind.names:
            return self._lent_uuid(kind, str(_object(write).get("name", "")))
        if not write.slug:
            return new_uuid(kind.name)
        if not is_uuid(kind.name, write.slug):
            raise ValidationError(f"Slug: {write.slug!r} is no uuid of a {kind.name}: {kind.name}-<letters and digits>")
        return write.slug

    def _lent_uuid(self, kind: ObjectType, name: str) -> str:
        lender = self.scope.find(self.config, kind.names, name)
        if lender is None:
            raise ValidationError(f"there is no {kind.names} called {name!r}", status=404)
        return debug.debug_uuid(kind, lender)

    def _uuid_of(self, write: Write) -> str:
        kind = write.kind
        if not write.name:
            raise ValidationError(
                f"{write.method} /api/{kind.name}: which one? /api/{kind.name}/<uuid> or ?name=<name>"
            )
        if kind.names:
            return self._lent_uuid(kind, write.name)
        uuid = self._names.get((kind.name, write.name)) or self._found(kind, write.name)
        if uuid is None:
            raise ValidationError(f"there is no {kind.word} called {write.name!r}", status=404)
        return uuid

    def _found(self, kind: ObjectType, name: str) -> str | None:
        body = self.scope.find(self.config, kind.name, name)
        return None if body is None else str(body["uuid"])

    def _present(self, kind: ObjectType, uuid: str) -> Body:
        return self._bodies.get(uuid) or self.reads.stored(self.config, kind, uuid)


def _tenant_ref(config: Config, given: Any) -> str:
    try:
        return resolve(config, TENANT, given)
    except ValueError as error:
        raise ValidationError(f"tenant_ref: {error}") from None


def _object(write: Write) -> Body:
    if not isinstance(write.body, dict):
        raise ValidationError(f"{write.method} /api/{write.kind.name} needs a JSON object as its body")
    return write.body


def _stamp(body: Mapping[str, Any]) -> str | None:
    """The ``_last_modified`` that was read; without it the write is unconditional."""
    stamp = body.get("_last_modified")
    return None if stamp is None else str(stamp)


def _seen(body: Any) -> str | None:
    """The stamp in the body of a DELETE, which may well have none."""
    return _stamp(body) if isinstance(body, dict) else None


def parse_transaction(body: Any, reads: Reads) -> list[Write | Refused]:
    """The writes of ``{"requests": [{"method": .., "path": "/api/pool", "body": {..}}, ..]}``.

    An entry that is none takes its place as Refused. ValidationError when the body is no such thing at all.
    """
    entries = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValidationError('a transaction needs a body such as {"requests": [{"method", "path", "body"}, ...]}')
    return [_parsed(entry, f"requests[{number}]", reads) for number, entry in enumerate(entries, 1)]


def _parsed(entry: Mapping[str, Any], place: str, reads: Reads) -> Write | Refused:
    try:
        return _parse(entry, reads)
    except ValidationError as error:
        return Refused(tuple(Issue(place, issue.text) for issue in error.issues), error.http_status)


def _split(path: str) -> SplitResult:
    try:
        return urlsplit(path)
    except ValueError:  # brackets where a host would stand: no path of ours
        return urlsplit("")


def _parse(entry: Mapping[str, Any], reads: Reads) -> Write:
    method, path = str(entry.get("method", "")).upper(), str(entry.get("path", ""))
    url = _split(path)
    parts = [part for part in url.path.split("/") if part]
    if method not in METHODS or len(parts) not in (2, 3) or parts[0] != "api":
        raise ValidationError(
            f"{method or 'no method'} {path or 'no path'}: a write of /api/<type>[/<uuid>] is expected"
        )
    kind = reads.kind(parts[1])
    allowed(method, kind, tuple(parts[1:]), path)
    query = dict(parse_qsl(url.query))
    return Write(method, kind, uuid_in_path(kind, parts[1:]), query.get("name", ""), entry.get("body"))


def allowed(method: str, kind: ObjectType, parts: tuple[str, ...], path: str) -> None:
    """ValidationError (405) unless a method writes at a path; ``parts``: those below /api/."""
    if kind.verb == "show":
        raise ValidationError(f"a {kind.name} is made by the controller itself: it can only be read", status=405)
    if kind.singleton and method in ("POST", "DELETE"):
        raise ValidationError(
            f"there is always exactly one {kind.name}: it is neither made nor deleted; change it with PUT or PATCH",
            status=405,
        )
    if method not in METHODS or len(parts) > 2 or (method == "POST" and len(parts) == 2):
        raise ValidationError(f"Method {method!r} not allowed at {path}", status=405)


def uuid_in_path(kind: ObjectType, parts: Sequence[str]) -> str:
    """The uuid that stands in a path below /api/, or that of a singleton; "" without one."""
    return parts[1] if len(parts) > 1 else kind.name if kind.singleton else ""

"""Requests for change, one or many, to a candidate configuration and everything there is to say about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from avish.config.config import Body, Change, Config, Draft, title, uuid_in
from avish.config.normalise import new_uuid, normalise
from avish.config.validate import is_system_default, still_referred, validate
from avish.config.wellknown import ADMIN_TENANT
from avish.errors import Issue
from avish.schema.model import ObjectType, Schema

CONFLICT = 412


@dataclass(frozen=True, slots=True)
class Put:
    """The whole object. ``uuid`` None: a new one; ``uuid`` of nothing: refused, unless ``new`` (or a debug object);
    ``new`` and ``uuid`` of an object: refused, unless it is a debug object.

    ``last_modified``: what the writer read; another one in the store refuses the write.
    """

    type: str
    uuid: str | None
    body: Body
    last_modified: str | None = None
    new: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """The object goes."""

    type: str
    uuid: str
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """The object becomes what it was in an earlier revision, to the letter; ``body`` None: it was not.

    A body without ``_last_modified`` is none of an earlier revision: it gets a new one.
    """

    type: str
    uuid: str
    body: Body | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that could not even be read; it is told together with what is wrong with the others."""

    issues: tuple[Issue, ...]
    status: int


Request = Put | Delete | Restore | Refused


@dataclass(frozen=True, slots=True)
class Conflict:
    """A request made on a state that is no longer the object's. ``present`` None: the object is gone."""

    request: int
    type: str
    uuid: str
    seen: str
    """The ``_last_modified`` that the writer read."""
    present: Body | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """``changes`` is empty when nothing would differ; ``config`` is then the one given.

    ``written``: (type, uuid) of each request, in order. ``status``: HTTP code for ``errors``.
    """

    changes: tuple[Change, ...]
    config: Config
    issues: list[Issue]
    written: tuple[tuple[str, str], ...]
    status: int = 400
    conflicts: tuple[Conflict, ...] = ()

    @property
    def errors(self) -> list[Issue]:
        """What refuses the transaction."""
        return [issue for issue in self.issues if issue.severity == "error"]

    @property
    def warnings(self) -> list[Issue]:
        """What is worth saying although it is done."""
        return [issue for issue in self.issues if issue.severity == "warning"]


def prepare(schema: Schema, config: Config, requests: Iterable[Request], now_us: int) -> Prepared:
    """The candidate after ``requests``, each of which sees those before it, and everything that is wrong with them."""
    work = _Work(schema, config, config.draft(config.revision + 1), str(now_us))
    for request in requests:
        work.add(request)
    return work.finish()


@dataclass
class _Work:
    schema: Schema
    base: Config
    draft: Draft
    now: str
    issues: list[Issue] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    touched: dict[str, str] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    """By uuid, the number of the request that touched the object last."""
    written: list[tuple[str, str]] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    unsound: set[str] = field(default_factory=set)
    """The uuids of objects with errors of their own."""
    number: int = -1

    def add(self, request: Request) -> None:
        """Carry out one request on the draft."""
        self.number += 1
        match request:
            case Put():
                self._put(request)
            case Delete():
                self._delete(request)
            case Restore():
                self._restore(request)
            case Refused():
                self._refuse(request.status, *request.issues)

    def _put(self, request: Put) -> None:
        kind = self.schema.object(request.type)
        existing = self.draft.get(request.type, request.uuid) if request.uuid else None
        uuid = request.uuid or new_uuid(request.type)
        if not self._fresh(request, existing) or not self._meant(request, kind, existing):
            return
        body, issues = normalise(self.draft, kind, request.body, existing, uuid)
        self._tell(400, issues, uuid)
        self._name_free(kind, body)
        self.written.append((request.type, uuid))
        if existing is None or _differs(existing, body):
            self._record(Change(request.type, uuid, {**body, "_last_modified": self.now}))

    def _meant(self, request: Put, kind: ObjectType, existing: Body | None) -> bool:
        """Whether there is (or, for a new one, is not) an object to write; debug objects always are."""
        if kind.names:
            return True
        if existing is None and request.uuid and not request.new:
            self._refuse(404, _missing(request))
            return False
        if existing is not None and request.new:
            self._refuse(409, Issue("", f"there is a {kind.name} with uuid {request.uuid} already"))
            return False
        return True

    def _delete(self, request: Delete) -> None:
        existing = self.draft.get(request.type, request.uuid)
        if not self._fresh(request, existing):
            return
        if existing is None:
            self._refuse(404, _missing(request))
            return
        self.written.append((request.type, request.uuid))
        self._record(Change(request.type, request.uuid, None))
        for shadow in self._shadows(request.type):
            uuid = self.draft.uuid_of(shadow, existing.get("name", ""))
            if uuid is not None:
                self._record(Change(shadow, uuid, None))

    def _restore(self, request: Restore) -> None:
        self.written.append((request.type, request.uuid))
        existing = self.draft.get(request.type, request.uuid)
        if request.body is None and existing is not None and self._stays(request.type, existing):
            return  # it came with a release later than the revision
        body = request.body and {"_last_modified": self.now, **request.body}
        if existing is not body and (existing is None or body is None or _differs(existing, body)):
            self._record(Change(request.type, request.uuid, body))

    def _stays(self, kind: str, body: Body) -> bool:
        return self.schema.object(kind).singleton or is_system_default(self.schema, kind, body)

    def finish(self) -> Prepared:
        """The candidate, with the checks of everything that changed."""
        changes = tuple(change for change in self._changes() if self._real(change))
        config = self.draft.freeze() if changes else self.base
        issues = [*self.issues, *self._checked(config, changes)]
        return Prepared(changes, config, issues, tuple(self.written), self._status(), tuple(self.conflicts))

    def _checked(self, config: Config, changes: tuple[Change, ...]) -> Iterator[Issue]:
        """What the checks of the grammar find. They rely on well-formed bodies: what is not, is left out."""
        refused = any(issue.severity == "error" for issue in self.issues)
        if not refused:
            yield from self._lost(config)
        else:
            changes = self._sound(changes)
            config = self.base.with_changes(changes, config.revision)
        if changes:
            owners, gone = self._titles(changes), self._still_referred(config, changes)
            for issue in validate(self.schema, self.base, config, changes):
                yield replace(issue, request=gone[issue] if issue in gone else _owner(owners, issue.path))

    def _sound(self, changes: tuple[Change, ...]) -> tuple[Change, ...]:
        """The changes that do not lean on an object with errors; no deletion, for what still refers may be one."""
        dropped = {uuid for uuid in self.unsound if self.base.get(self.touched.get(uuid, ""), uuid) is None}
        waiting = list(dropped)
        while waiting:
            for _, referrer in self.draft.referrers(waiting.pop()):
                if referrer not in dropped:
                    dropped.add(referrer)
                    waiting.append(referrer)
        left_out = dropped | self.unsound
        return tuple(change for change in changes if change.body is not None and change.uuid not in left_out)

    def _titles(self, changes: Iterable[Change]) -> dict[str, int]:
        """The request behind each object, by what its issues begin with."""
        bodies = ((c, c.body or self.base.get(c.type, c.uuid) or {}) for c in changes)
        return {title(change.type, body): self.owners[change.uuid] for change, body in bodies}

    def _still_referred(self, config: Config, changes: Iterable[Change]) -> dict[Issue, int]:
        """The request behind each refusal to delete, which names the referrers only."""
        return {
            issue: self.owners[change.uuid]
            for change in changes
            if change.body is None
            for issue in still_referred(self.schema, config, change.uuid)
        }

    def _lost(self, config: Config) -> Iterator[Issue]:
        """What still refers to objects made and deleted in this very transaction: no change tells of those."""
        for uuid, kind in self.touched.items():
            if self.base.get(kind, uuid) is None and self.draft.get(kind, uuid) is None:
                for issue in still_referred(self.schema, config, uuid):
                    yield replace(issue, request=self.owners[uuid])

    def _status(self) -> int:
        """A conflict comes first: who reads again finds the rest changed; else what all errors have in common."""
        if CONFLICT in self.statuses:
            return CONFLICT
        return next(iter(self.statuses)) if len(self.statuses) == 1 else 400

    def _changes(self) -> list[Change]:
        """One change per object, in the order in which they were first touched."""
        return [Change(kind, uuid, self.draft.get(kind, uuid)) for uuid, kind in self.touched.items()]

    def _real(self, change: Change) -> bool:
        before = self.base.get(change.type, change.uuid)
        if before is None or change.body is None:
            return before is not change.body
        return _differs(before, change.body)

    def _record(self, change: Change) -> None:
        self.draft.put(change)
        self.touched[change.uuid] = change.type
        self.owners[change.uuid] = self.number

    def _refuse(self, status: int, *issues: Issue) -> None:
        """Errors of a request that changes nothing."""
        self._tell(status, issues, "")

    def _tell(self, status: int, issues: Iterable[Issue], uuid: str) -> None:
        for issue in issues:
            self.issues.append(replace(issue, request=self.number))
            if issue.severity == "error":
                self.statuses.add(status)
                self.unsound.add(uuid)

    def _shadows(self, kind: str) -> list[str]:
        """The debug objects that live by the names of this type: they go when it goes."""
        return [
            name
            for name, (verb, _, _) in self.schema.index.items()
            if verb == "debug" and self.schema.object(name).names == kind
        ]

    def _name_free(self, kind: ObjectType, body: Body) -> None:
        tenant = uuid_in(body.get("tenant_ref")) or ADMIN_TENANT
        holder = self.draft.uuid_of(kind.name, body.get("name", ""), tenant)
        if holder is not None and holder != body["uuid"]:
            taken = Issue(title(kind.name, body), f"there is a {kind.word} of this name already")
            self._tell(409, [taken], body["uuid"])

    def _fresh(self, request: Put | Delete, existing: Body | None) -> bool:
        """Whether the writer saw what is there; a change by an earlier request of this transaction does not count."""
        seen = request.last_modified
        if seen is None or (existing and existing.get("_last_modified") == seen):
            return True
        if existing is not None and existing["_last_modified"] == self.now and request.uuid in self.touched:
            return True
        uuid = request.uuid or ""
        self.conflicts.append(Conflict(self.number, request.type, uuid, seen, existing))
        what, done = title(request.type, existing or {"uuid": uuid or "?"}), "changed" if existing else "deleted"
        text = f"{what} was {done} since you read it; read it again and repeat your change"
        self._refuse(CONFLICT, Issue("", text))
        return False


def _missing(request: Put | Delete) -> Issue:
    return Issue("", f"there is no {request.type} with uuid {request.uuid}")


def _owner(owners: dict[str, int], path: str) -> int | None:
    """The request whose object an issue's path begins with: the longest title that fits, for names may hold blanks."""
    words = path.split(" ")
    return next((owners[" ".join(words[:n])] for n in range(len(words), 0, -1) if " ".join(words[:n]) in owners), None)


def _differs(old: Body, new: Body) -> bool:
    return {**old, "_last_modified": ""} != {**new, "_last_modified": ""}

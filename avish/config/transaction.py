"""Requests for change, one or many, to a candidate configuration and everything there is to say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from avish.config.config import Body, Change, Config, Draft, title
from avish.config.normalise import new_uuid, normalise
from avish.config.validate import still_referred, validate
from avish.errors import ConflictError, Issue, ValidationError
from avish.schema.model import ObjectType, Schema

LastChange = Callable[[str], tuple[str, float] | None]
"""uuid -> (user, time in seconds since the epoch) of its last change."""


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


Request = Put | Delete


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

    @property
    def errors(self) -> list[Issue]:
        """What refuses the transaction."""
        return [issue for issue in self.issues if issue.severity == "error"]

    @property
    def warnings(self) -> list[Issue]:
        """What is worth saying although it is done."""
        return [issue for issue in self.issues if issue.severity == "warning"]


def _nobody(_: str) -> None:
    """Knows of no change."""


def prepare(
    schema: Schema,
    config: Config,
    requests: Iterable[Request],
    now_us: int,
    last_change: LastChange = _nobody,
) -> Prepared:
    """The candidate after ``requests``; each sees those before it.

    Raises ConflictError when ``last_modified`` is stale and ValidationError for an object that is not there (404), or
    there already (409); everything else comes as issues.
    """
    work = _Work(schema, config, config.draft(config.revision + 1), str(now_us), last_change)
    for request in requests:
        work.put(request) if isinstance(request, Put) else work.delete(request)
    return work.finish()


@dataclass
class _Work:
    schema: Schema
    base: Config
    draft: Draft
    now: str
    last_change: LastChange
    issues: list[Issue] = field(default_factory=list)
    touched: dict[str, str] = field(default_factory=dict)
    written: list[tuple[str, str]] = field(default_factory=list)
    status: int = 400

    def put(self, request: Put) -> None:
        kind = self.schema.object(request.type)
        existing = self.draft.get(request.type, request.uuid) if request.uuid else None
        self._fresh(request, existing)
        if existing is None and request.uuid and not (request.new or kind.names):
            raise _missing(request.type, request.uuid)
        if existing is not None and request.new and not kind.names:
            raise ValidationError(f"there is a {kind.name} with uuid {request.uuid} already", 409)
        uuid = request.uuid or new_uuid(request.type)
        body, issues = normalise(self.draft, kind, request.body, existing, uuid)
        self.issues += issues
        self._name_free(kind, body)
        self.written.append((request.type, uuid))
        if existing is None or _differs(existing, body):
            self._record(Change(request.type, uuid, {**body, "_last_modified": self.now}))

    def delete(self, request: Delete) -> None:
        existing = self.draft.get(request.type, request.uuid)
        if existing is None:
            raise _missing(request.type, request.uuid)
        self._fresh(request, existing)
        self.written.append((request.type, request.uuid))
        self._record(Change(request.type, request.uuid, None))
        for shadow in self._shadows(request.type):
            uuid = self.draft.uuid_of(shadow, existing.get("name", ""))
            if uuid is not None:
                self._record(Change(shadow, uuid, None))

    def finish(self) -> Prepared:
        changes = tuple(change for change in self._changes() if self._real(change))
        if not changes:
            return Prepared((), self.base, self.issues, tuple(self.written), self.status)
        config = self.draft.freeze()
        issues = self.issues
        if not any(issue.severity == "error" for issue in issues):  # checks rely on well-formed bodies
            issues = [*issues, *self._lost(config), *validate(self.schema, self.base, config, changes)]
        return Prepared(changes, config, issues, tuple(self.written), self.status)

    def _lost(self, config: Config) -> Iterator[Issue]:
        """What still refers to objects made and deleted in this very transaction: no change tells of those."""
        for uuid, kind in self.touched.items():
            if self.base.get(kind, uuid) is None and self.draft.get(kind, uuid) is None:
                yield from still_referred(self.schema, config, uuid)

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

    def _shadows(self, kind: str) -> list[str]:
        """The debug objects that live by the names of this type: they go when it goes."""
        return [
            name
            for name, (verb, _, _) in self.schema.index.items()
            if verb == "debug" and self.schema.object(name).names == kind
        ]

    def _name_free(self, kind: ObjectType, body: Body) -> None:
        holder = self.draft.uuid_of(kind.name, body.get("name", ""))
        if holder is not None and holder != body["uuid"]:
            self.status = 409
            self.issues.append(Issue(title(kind.name, body), f"there is a {kind.word} of this name already"))

    def _fresh(self, request: Request, existing: Body | None) -> None:
        if request.last_modified is None or (existing and existing.get("_last_modified") == request.last_modified):
            return
        if existing is not None and existing["_last_modified"] == self.now and request.uuid in self.touched:
            return  # changed by an earlier request of this very transaction
        raise ConflictError(self._stale_text(request, existing))

    def _stale_text(self, request: Request, existing: Body | None) -> str:
        what = title(request.type, existing or {"uuid": request.uuid or "?"})
        done = "changed" if existing else "deleted"
        last = self.last_change(request.uuid or "")
        if last is None:
            return f"{what} was {done} since you read it; read it again and repeat your change"
        when = datetime.fromtimestamp(last[1], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{what} was {done} by {last[0]} at {when}, after you read it; read it again and repeat your change"


def _missing(kind: str, uuid: str) -> ValidationError:
    return ValidationError(f"there is no {kind} with uuid {uuid}", 404)


def _differs(old: Body, new: Body) -> bool:
    return {**old, "_last_modified": ""} != {**new, "_last_modified": ""}

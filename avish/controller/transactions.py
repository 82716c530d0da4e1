"""Many objects at once and what became of it: /api/transaction, rollback, compare, commits and confirm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from avish.api.request import Request, Response
from avish.config.config import Config
from avish.config.store import Revision, Store
from avish.config.transaction import Request as Wish
from avish.config.wellknown import ADMIN_TENANT
from avish.controller.access import CONTROLLER, SYSTEM, WRITE, require
from avish.controller.changes import Changes, dry, flag, warnings, who
from avish.controller.commit import Committer, Head, Outcome
from avish.controller.compare import (
    Names,
    config_pairs,
    names_at,
    names_in,
    object_differences,
    stored_pairs,
)
from avish.controller.confirm import Confirmations, Pending
from avish.controller.gate import Gate
from avish.controller.notices import Notices, iso
from avish.controller.objects import Objects
from avish.controller.reads import MOST_ROWS, Reads, Wanted
from avish.controller.rehearsals import PREFIX, Rehearsals
from avish.controller.rollback import Rollbacks, no_revision, way_of
from avish.controller.status import Status
from avish.controller.words import plan_text
from avish.controller.writes import Write, parse_transaction, requests_of
from avish.errors import ValidationError
from avish.schema.model import Schema
from dataplane.diff import diff

Json = dict[str, Any]
CREATED = {"POST": 201, "DELETE": 204}
COMMITS_SHOWN = 50
RUNNING, KERNEL = "running", "kernel"


class Transactions:
    """POST /api/transaction."""

    def __init__(self, reads: Reads, changes: Changes, objects: Objects, gate: Gate) -> None:
        self._gate = gate
        self._reads = reads
        self._changes = changes
        self._objects = objects

    def post(self, request: Request) -> Response:
        """All requests of the body, or none. Query ``draft=1``: see Changes.draft."""
        scope = self._gate.scope(request)
        writes, hashes = self._changes.credentials(parse_transaction(request.body, self._reads))

        def ask(config: Config) -> list[Wish]:
            return requests_of(writes, config, self._reads, scope)

        if flag(request, "draft"):
            return self._changes.draft(request, ask)
        outcome = self._changes.make(request, ask, hashes)
        if dry(request):
            return self._changes.rehearsed(request, outcome)
        answer: Json = {"revision": outcome.head.config.revision}
        if not flag(request, "brief"):
            bodies = self._objects.written(request, outcome)
            methods = [write.method for write in writes if isinstance(write, Write)]
            answer["results"] = [
                {"status": CREATED.get(method, 200), "body": body} for method, body in zip(methods, bodies, strict=True)
            ]
        return Response(200, answer, warnings(outcome))


class Past:
    """Commits, what they changed, and the way back."""

    def __init__(
        self,
        *,
        schema: Schema,
        committer: Committer,
        store: Store,
        confirmations: Confirmations,
        rollbacks: Rollbacks,
        changes: Changes,
    ) -> None:
        self._schema = schema
        self._committer = committer
        self._store = store
        self._confirmations = confirmations
        self._rollbacks = rollbacks
        self._changes = changes

    def commits(self, request: Request) -> Response:
        """The commits, newest first."""
        wanted = Wanted.of(request.query)
        newest, size = self._newest, min(wanted.page_size or COMMITS_SHOWN, MOST_ROWS)
        rows = self._store.revisions(newest - (wanted.page - 1) * size, size)
        taken_back = self._confirmations.rolled_back()
        return Response(200, {"count": newest, "results": [self._commit(row, taken_back) for row in rows]})

    def commit(self, request: Request) -> Response:
        """One commit, with what it changed."""
        number = _number(request.path.rstrip("/").rpartition("/")[2])
        if not 0 < number <= self._newest:
            raise no_revision(number, self._newest)
        names = Names(names_at(self._store, number - 1), names_at(self._store, number))
        pairs = stored_pairs(self._store, number - 1, number)
        about = self._commit(self._store.revisions(number, 1)[0], self._confirmations.rolled_back())
        return Response(200, {**about, "changes": object_differences(self._schema, pairs, names)})

    @property
    def _newest(self) -> int:
        return self._committer.head.config.revision

    def _commit(self, row: Revision, taken_back: set[int]) -> Json:
        return {
            "id": row.number,
            "time": iso(row.time),
            "user": row.user,
            "source": row.source,
            "comment": row.comment,
            "objects": row.objects,
            "back": self._newest - row.number,
            "state": self._state(row, taken_back),
        }

    def _state(self, row: Revision, taken_back: set[int]) -> str:
        """What the controller itself writes down (its engines) neither waits nor is taken back."""
        pending = self._confirmations.pending
        if row.source == SYSTEM:
            return "confirmed"
        if pending is not None and pending.back_to < row.number <= pending.revision:
            return "awaiting confirmation"
        return "rolled back" if row.number in taken_back else "confirmed"

    def roll_back(self, request: Request) -> Response:
        """POST /api/rollback {"to": revision} or {"back": number of commits}; "from": the newest commit as it was seen.

        A dry run answers with the "to" and "from" of what it tells.
        """
        way = way_of(request.body)
        outcome = self._changes.make(request, self._rollbacks.to(way))
        if not dry(request):
            return Response(200, {"revision": outcome.head.config.revision}, warnings(outcome))
        newest = outcome.old.revision
        body = {**self._changes.rehearsal(request, outcome), "to": way.target(newest), "from": newest}
        return Response(200, body, warnings(outcome))


class Confirm:
    """/api/confirm: the commit that awaits its confirmation."""

    def __init__(
        self,
        committer: Committer,
        confirmations: Confirmations,
        rollbacks: Rollbacks,
        notices: Notices,
        gate: Gate,
    ) -> None:
        self._gate = gate
        self._committer = committer
        self._confirmations = confirmations
        self._rollbacks = rollbacks
        self._notices = notices

    def get(self, request: Request) -> Response:
        """{"pending": null | {..}}."""
        del request
        pending = self._confirmations.pending
        if pending is None:
            return Response(200, {"pending": None})
        left = round(pending.left(self._confirmations.now()), 3)
        told = {name: getattr(pending, name) for name in ("revision", "back_to", "user", "source")}
        return Response(200, {"pending": {**told, "until": iso(pending.until), "seconds_left": left}})

    def post(self, request: Request) -> Response:
        """Confirm."""
        self._require(request)
        pending = self._committer.confirm_commit()
        text = f"commit {pending.revision} of {pending.user} was confirmed by {request.user}"
        self._notices.tell(self._notices.make(text, "confirmed"))
        return Response(200, {"confirmed": pending.revision})

    def delete(self, request: Request) -> Response:
        """Take it back now."""
        pending = self._require(request)
        done = f"commit {pending.revision} of {pending.user} was taken back by {request.user}"
        author = who(request)
        if not author.comment:
            author = replace(author, comment=f"{done}: back to commit {pending.back_to}")
        text = f"{done}: the configuration is that of commit {pending.back_to} again"
        outcome: Outcome = self._rollbacks.take_back(pending, author, text)
        return Response(200, {"revision": outcome.head.config.revision}, warnings(outcome))

    def _require(self, request: Request) -> Pending:
        """What awaits its confirmation: whoever committed it decides, and who may change the controller.

        ValidationError (403, 404).
        """
        pending = self._confirmations.pending
        if pending is None:
            raise ValidationError("no commit awaits its confirmation", status=404)
        if request.user != pending.user:
            require(self._gate.scope(request).caller, CONTROLLER, ADMIN_TENANT, WRITE, ADMIN_TENANT)
        return pending


class Compare:
    """GET /api/compare."""

    def __init__(self, schema: Schema, committer: Committer, rehearsals: Rehearsals, status: Status) -> None:
        self._schema = schema
        self._committer = committer
        self._rehearsals = rehearsals
        self._status = status

    def get(self, request: Request) -> Response:
        """What leads from one place to another: running, a revision, a dry run's token, kernel."""
        start, end = (request.query.get(name, "") or RUNNING for name in ("from", "to"))
        if KERNEL in (start, end):
            found = self._drift(start, end)
        else:
            old, new = self._place(start), self._place(end)
            kernel = {engine: plan_text(plan) for engine, plan in self._plans(old, new)}
            found = {"objects": self._objects(old, new), "kernel": kernel}
        return Response(200, {"from": start, "to": end, **found})

    def _drift(self, start: str, end: str) -> Json:
        if {start, end} != {RUNNING, KERNEL}:
            raise ValidationError("the kernel is compared with what runs: from=running&to=kernel")
        return {"objects": [], "kernel": {name: texts for name, texts in self._status.drift().items() if texts}}

    def _place(self, place: str) -> Head:
        if place == RUNNING:
            return self._committer.head
        if place.startswith(PREFIX):
            return self._rehearsals.candidate(place)
        try:
            return self._committer.at(_number(place))
        except KeyError:
            raise no_revision(_number(place), self._committer.head.config.revision) from None

    def _plans(self, old: Head, new: Head) -> Any:
        for engine in dict.fromkeys([*old.desired, *new.desired]):
            if plan := diff(old.state(engine), new.state(engine)):
                yield engine, plan

    def _objects(self, old: Head, new: Head) -> list[Json]:
        pairs = config_pairs(old.config, new.config)
        return object_differences(self._schema, pairs, Names(names_in(old.config), names_in(new.config)))


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValidationError(f"{text!r} is no commit: a number, running, kernel or the token of a dry run") from None

"""A request that changes something, carried out or rehearsed, as its query and headers ask."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from avish.api.request import Request, Response
from avish.config.config import Change, Config
from avish.config.store import Who
from avish.config.transaction import Refused
from avish.controller.commit import Ask, Committer, Head, Outcome
from avish.controller.compare import Names, Pair, names_in, object_differences
from avish.controller.confirm import PLAIN, Terms, minutes_of
from avish.controller.credentials import without_password
from avish.controller.gate import Gate
from avish.controller.guard import NONE, Effects
from avish.controller.rehearsals import Rehearsals
from avish.controller.writes import Write
from avish.errors import ValidationError
from avish.schema.model import Schema

log = logging.getLogger(__name__)

WARNINGS = "X-Avish-Warnings"
CHANGES_LOGGED = 100
WARNINGS_SHOWN = 30
"""More would not fit into a header."""


class Changes:
    """What every resource that changes the configuration shares.

    Query: ``dryrun=1``, then also ``after=TOKEN``; or ``confirm=MINUTES``. Header X-Avish-Comment, percent-encoded.
    """

    def __init__(
        self,
        schema: Schema,
        committer: Committer,
        effects: Effects,
        rehearsals: Rehearsals,
        gate: Gate,
    ) -> None:
        self._accounts = effects.accounts
        self._gate = gate
        self._schema = schema
        self._committer = committer
        self._effects = effects
        self._rehearsals = rehearsals

    def head(self, request: Request) -> Head:
        """What a request looks at: the head, or the candidate of the dry run it names."""
        token = request.query.get("after", "")
        return self._rehearsals.candidate(token) if token else self._committer.head

    def make(self, request: Request, ask: Ask, hashes: Mapping[int, str] = NONE) -> Outcome:
        """Commit what ``ask`` asks for, or rehearse it. ``hashes``: of new passwords, by number of the request."""
        terms, author = self._terms(request), who(request)
        effect = self._effects.of(self._gate.scope(request), hashes)
        if dry(request):
            return self._committer.rehearse(ask, author, after=self._after(request), effect=effect, terms=terms)
        outcome = self._committer.commit(ask, author, effect=effect, terms=terms)
        _log(request, outcome)
        return outcome

    def _terms(self, request: Request) -> Terms:
        if request.query.get("after") and not dry(request):
            raise ValidationError("after= goes on from a dry run, and this is none: add dryrun=1")
        text = request.query.get("confirm", "")
        return Terms(minutes_of(self._schema, text)) if text else PLAIN

    def _after(self, request: Request) -> Head | None:
        return self.head(request) if request.query.get("after") else None

    def draft(self, request: Request, ask: Ask) -> Response:
        """The answer of a dry run that refuses nothing: objects as they would be, and in ``issues`` what is wrong."""
        before, prepared = self.head(request).config, self._committer.draft(ask, self._after(request))
        issues = [{"path": one.path, "text": one.text, "severity": one.severity} for one in prepared.issues]
        objects = self._differences(before, prepared.changes, prepared.config)
        return Response(200, {"objects": objects, "kernel": {}, "issues": issues})

    def credentials(self, writes: Iterable[Write | Refused]) -> tuple[list[Write | Refused], dict[int, str]]:
        """The writes without the passwords of users in them, and the hashes of those by number of the write."""
        pairs = [without_password(self._accounts, write) for write in writes]
        return [write for write, _ in pairs], {number: hashed for number, (_, hashed) in enumerate(pairs) if hashed}

    def rehearsed(self, request: Request, outcome: Outcome) -> Response:
        """The answer to a dry run."""
        return Response(200, self.rehearsal(request, outcome), warnings(outcome))

    def rehearsal(self, request: Request, outcome: Outcome) -> dict[str, Any]:
        """Keys: objects (see ``object_differences``), kernel {engine: [step in words]}, token of the candidate."""
        objects = self._differences(outcome.old, outcome.changes, outcome.head.config)
        return {"objects": objects, "kernel": dict(outcome.kernel), "token": self.keep(request, outcome)}

    def _differences(self, old: Config, changes: Iterable[Change], new: Config) -> list[dict[str, Any]]:
        pairs = [Pair(one.type, one.uuid, old.get(one.type, one.uuid), one.body) for one in changes]
        return object_differences(self._schema, pairs, Names(names_in(old), names_in(new)))

    def keep(self, request: Request, outcome: Outcome) -> str:
        """The token of the candidate of a dry run."""
        return self._rehearsals.keep(outcome.head, request.user, len(outcome.changes), request.query.get("after", ""))


def dry(request: Request) -> bool:
    """Whether nothing is to be changed."""
    return flag(request, "dryrun")


def flag(request: Request, name: str) -> bool:
    """Whether a word of the query is set."""
    return request.query.get(name, "") not in ("", "0", "false")


def who(request: Request) -> Who:
    """The author of a change, and why he makes it."""
    return Who(request.user, request.source, unquote(request.headers.get("x-avish-comment", "")))


def warnings(outcome: Outcome) -> dict[str, str]:
    """The header that tells the warnings."""
    texts = [str(issue) for issue in outcome.warnings]
    if len(texts) > WARNINGS_SHOWN:
        texts = [*texts[:WARNINGS_SHOWN], f"and {len(texts) - WARNINGS_SHOWN} more warnings"]
    return {WARNINGS: json.dumps(texts)} if texts else {}


def _log(request: Request, outcome: Outcome) -> None:
    """Object by object; of very many only the number, for show commit knows them all."""
    revision = outcome.head.config.revision
    if len(outcome.changes) > CHANGES_LOGGED:
        log.info("%s changed %d objects (revision %d)", request.user, len(outcome.changes), revision)
        return
    for change in outcome.changes:
        verb = "deleted" if change.body is None else "wrote"
        log.info("%s %s %s %s (revision %d)", request.user, verb, change.type, change.uuid, revision)

"""A request that changes something, carried out or rehearsed, as its query and headers ask."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import unquote

from avish.api.request import Request, Response
from avish.config.store import Who
from avish.config.transaction import Refused
from avish.controller.accounts import Accounts
from avish.controller.commit import Ask, Committer, Head, Outcome
from avish.controller.compare import Names, Pair, names_in, object_differences
from avish.controller.confirm import PLAIN, Terms, minutes_of
from avish.controller.credentials import Settle, without_password
from avish.controller.debug import CaptureSwitch
from avish.controller.gate import Gate
from avish.controller.guard import Guarded
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
        switch: CaptureSwitch,
        rehearsals: Rehearsals,
        accounts: Accounts,
        gate: Gate,
    ) -> None:
        self._accounts = accounts
        self._gate = gate
        self._schema = schema
        self._committer = committer
        self._switch = switch
        self._rehearsals = rehearsals

    def head(self, request: Request) -> Head:
        """What a request looks at: the head, or the candidate of the dry run it names."""
        token = request.query.get("after", "")
        return self._rehearsals.candidate(token) if token else self._committer.head

    def make(self, request: Request, ask: Ask) -> Outcome:
        """Commit what ``ask`` asks for, or rehearse it."""
        terms = _terms(request)
        if dry(request):
            after = self.head(request) if request.query.get("after") else None
            return self._committer.rehearse(ask, after)
        guarded = Guarded(self._switch.effect(request.user), self._gate.scope(request).caller, self._accounts)
        outcome = self._committer.commit(ask, who(request), effect=guarded, terms=terms)
        _log(request, outcome)
        return outcome

    def credentials(self, write: Write | Refused) -> tuple[Write | Refused, Settle]:
        """A write without the password of a user in it, and what keeps that once the user is."""
        return without_password(self._accounts, write)

    def rehearsed(self, outcome: Outcome) -> Response:
        """The answer to a dry run."""
        return Response(200, self.rehearsal(outcome), warnings(outcome))

    def rehearsal(self, outcome: Outcome) -> dict[str, Any]:
        """Keys: objects (see ``object_differences``), kernel {engine: [step in words]}, token of the candidate."""
        pairs = [
            Pair(change.type, change.uuid, outcome.old.get(change.type, change.uuid), change.body)
            for change in outcome.changes
        ]
        names = Names(names_in(outcome.old), names_in(outcome.head.config))
        objects = object_differences(self._schema, pairs, names)
        return {"objects": objects, "kernel": dict(outcome.kernel), "token": self.keep(outcome)}

    def keep(self, outcome: Outcome) -> str:
        """The token of the candidate of a dry run."""
        return self._rehearsals.keep(outcome.head)


def dry(request: Request) -> bool:
    """Whether nothing is to be changed."""
    return flag(request, "dryrun")


def flag(request: Request, name: str) -> bool:
    """Whether a word of the query is set."""
    return request.query.get(name, "") not in ("", "0", "false")


def who(request: Request) -> Who:
    """The author of a change, and why he makes it."""
    return Who(request.user, request.source, unquote(request.headers.get("x-avish-comment", "")))


def _terms(request: Request) -> Terms:
    if request.query.get("after") and not dry(request):
        raise ValidationError("after= goes on from a dry run, and this is none: add dryrun=1")
    text = request.query.get("confirm", "")
    return Terms(minutes_of(text)) if text else PLAIN


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

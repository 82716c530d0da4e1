"""The seam: a Request and the controller's state to a Response. No sockets in here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from avish.api.request import Request, Response
from avish.config.checks import require_checks
from avish.config.store import Store
from avish.controller.access import authorise
from avish.controller.bases import Bases
from avish.controller.captures import Captures
from avish.controller.changes import Changes
from avish.controller.commit import Committer
from avish.controller.configuration import Configuration
from avish.controller.confirm import Confirmations
from avish.controller.debug import CaptureSwitch
from avish.controller.engines import Engine
from avish.controller.notices import Notices
from avish.controller.objects import Objects
from avish.controller.reads import Reads
from avish.controller.rehearsals import Rehearsals
from avish.controller.rollback import Rollbacks
from avish.controller.stale import StaleError
from avish.controller.status import Status
from avish.controller.transactions import Compare, Confirm, Past, Transactions
from avish.errors import ApplyError, AvishError, Issue, UnavailableError, ValidationError
from avish.operate.registry import lint
from avish.schema.model import Schema
from dataplane.errors import DataplaneError, RefusedError

log = logging.getLogger(__name__)

REVISION = "X-Avish-Revision"
CONFIRM = "X-Avish-Confirm"
TRANSACTION = "/api/transaction"
Parts = tuple[str, ...]
Handler = Callable[[Request], Response]
ANY = "*"
"""The last part of a path in the table, whatever it is."""


@dataclass(frozen=True, slots=True)
class Parties:
    """What the resources work on."""

    schema: Schema
    store: Store
    committer: Committer
    engines: Mapping[str, Engine]
    captures: Captures
    status: Status
    confirmations: Confirmations
    notices: Notices
    rollbacks: Rollbacks


class Api:
    """Answers REST requests; safe to call from several threads at once."""

    def __init__(self, parties: Parties) -> None:
        lint(parties.schema)
        require_checks(parties.schema)
        switch, rehearsals = CaptureSwitch(parties.captures), Rehearsals()
        reads = Reads(parties.schema, parties.engines, switch, Bases(parties.store))
        changes = Changes(parties.schema, parties.committer, switch, rehearsals)
        self._committer = parties.committer
        self._confirmations = parties.confirmations
        self._objects = Objects(reads, changes, switch)
        self._resources = _resources(parties, reads, changes, rehearsals, self._objects)

    def handle(self, request: Request) -> Response:
        """The answer; also every refusal is one. What it raises is a bug."""
        try:
            authorise(request)
            response = self._route(request)
        except AvishError as error:
            response = _refusal(error, numbered=request.path.rstrip("/") == TRANSACTION)
        except RefusedError as error:
            response = _refusal(ApplyError(str(error)))
        except DataplaneError as error:
            response = _refusal(UnavailableError(f"the service engine does not answer: {error}"))
        headers = {**response.headers, REVISION: str(self._committer.head.config.revision), **self._awaiting()}
        return Response(response.status, response.body, headers, response.stream)

    def _route(self, request: Request) -> Response:
        parts = tuple(part for part in request.path.split("/") if part)
        if parts[:1] != ("api",) or len(parts) == 1:
            raise ValidationError(f"there is nothing at {request.path}: the API is below /api/", status=404)
        resource = self._resources.get(parts[1:]) or self._resources.get((*parts[1:-1], ANY))
        if resource is None:
            return self._objects.handle(request, parts[1:])
        if request.method not in resource:
            raise ValidationError(f"Method {request.method!r} not allowed at {request.path}", status=405)
        return resource[request.method](request)

    def _awaiting(self) -> dict[str, str]:
        """The header that tells of a commit that awaits its confirmation: revision, seconds, user."""
        pending = self._confirmations.pending
        if pending is None:
            return {}
        left = math.ceil(pending.left(self._confirmations.now()))
        return {CONFIRM: f"{pending.revision} {left} {pending.user}"}


def _resources(
    parties: Parties, reads: Reads, changes: Changes, rehearsals: Rehearsals, objects: Objects
) -> dict[Parts, Mapping[str, Handler]]:
    """What is no object, by path below /api/ and method."""
    schema, committer, status = parties.schema, parties.committer, parties.status
    confirmations, rollbacks, notices = parties.confirmations, parties.rollbacks, parties.notices
    transactions = Transactions(reads, changes, objects)
    past = Past(
        schema=schema,
        committer=committer,
        store=parties.store,
        confirmations=confirmations,
        rollbacks=rollbacks,
        changes=changes,
    )
    configuration = Configuration(schema, changes, parties.engines)
    confirm = Confirm(committer, confirmations, rollbacks, notices)
    return {
        ("cluster", "version"): _report(status.version),
        ("cluster", "runtime"): _report(status.cluster),
        ("initial-data",): _report(lambda: {"version": status.version()}),
        ("avish", "status"): _report(status.report),
        ("avish", "check"): _report(status.check),
        ("transaction",): {"POST": transactions.post},
        ("configuration", "export"): {"GET": configuration.export},
        ("configuration", "import"): {"POST": configuration.take},
        ("compare",): {"GET": Compare(schema, committer, rehearsals, status).get},
        ("rollback",): {"POST": past.roll_back},
        ("commits",): {"GET": past.commits},
        ("commits", ANY): {"GET": past.commit},
        ("confirm",): {"GET": confirm.get, "POST": confirm.post, "DELETE": confirm.delete},
        ("notices",): {"GET": notices.get},
    }


def _report(make: Callable[[], Any]) -> Mapping[str, Handler]:
    return {"GET": lambda _: Response(200, make())}


def _refusal(error: AvishError, *, numbered: bool = False) -> Response:
    """``numbered``: the issues name the request of the body that they are about."""
    issues = error.issues if isinstance(error, ValidationError | StaleError) else [Issue("", str(error))]
    body: dict[str, Any] = {"error": str(error), "issues": [_told(issue, numbered=numbered) for issue in issues]}
    if isinstance(error, StaleError):
        body |= {"conflict": error.conflicts[0], "conflicts": error.conflicts}
    return Response(error.http_status, body)


def _told(issue: Issue, *, numbered: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"path": issue.path, "text": issue.text, "severity": issue.severity}
    return {**told, "request": issue.request} if numbered and issue.request is not None else told

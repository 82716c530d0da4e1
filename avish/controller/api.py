"""The seam: a Request and the controller's state to a Response. No sockets in here."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from avish.api.request import Request, Response
from avish.config.checks import require_checks
from avish.config.store import Store
from avish.config.wellknown import ADMIN_TENANT
from avish.controller.access import ANYBODY, CONTROLLER, READ, WRITE, require
from avish.controller.accounts import Accounts
from avish.controller.analytics import Analytics
from avish.controller.audit import Audit
from avish.controller.bases import Bases
from avish.controller.captures import Captures
from avish.controller.changes import Changes
from avish.controller.commit import Committer
from avish.controller.configuration import Configuration
from avish.controller.confirm import Confirmations
from avish.controller.debug import CaptureSwitch
from avish.controller.engines import Engine
from avish.controller.files import Files
from avish.controller.gate import PUBLIC, READING, Admitted, CsrfError, Gate, session_cookies
from avish.controller.guard import Effects
from avish.controller.notices import Notices
from avish.controller.objects import Objects
from avish.controller.openapi import OpenApi
from avish.controller.reads import Reads
from avish.controller.records import Records
from avish.controller.rehearsals import Rehearsals
from avish.controller.rollback import Rollbacks
from avish.controller.sessions import Sessions
from avish.controller.signin import LOGIN, LOGOUT, OwnAccount, SignIn
from avish.controller.stale import StaleError
from avish.controller.status import Status
from avish.controller.support import Support
from avish.controller.transactions import Compare, Confirm, Past, Transactions
from avish.errors import ApplyError, AvishError, Issue, UnavailableError, ValidationError
from avish.operate.registry import lint
from avish.schema.model import Schema
from dataplane.errors import DataplaneError, RefusedError

log = logging.getLogger(__name__)

REVISION = "X-Avish-Revision"
CONFIRM = "X-Avish-Confirm"
REQUEST = "X-Avish-Request"
TRANSACTION = "/api/transaction"
Parts = tuple[str, ...]
Handler = Callable[[Request], Response]
NOT_ALLOWED = 405
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
    accounts: Accounts
    sessions: Sessions
    audit: Audit
    records: Records
    exports: Path
    """The folder of what is written for users."""


@dataclass(frozen=True, slots=True)
class Needs:
    """The permissions that reading and writing take. ``here``: in the tenant of the request; else in admin, for what is
    about the whole controller.
    """

    read: str = CONTROLLER
    write: str = CONTROLLER
    here: bool = False


ENGINE = "PERMISSION_SERVICEENGINE"
PERMISSIONS: dict[Parts, Needs] = {
    ("cluster", "version"): Needs(ANYBODY, CONTROLLER),
    ("cluster", "runtime"): Needs(ANYBODY, CONTROLLER),
    ("initial-data",): Needs(ANYBODY, CONTROLLER),
    ("avish", "status"): Needs(ANYBODY, CONTROLLER),
    ("avish", "session"): Needs(ANYBODY, ANYBODY),
    ("avish", "account", ANY): Needs(ANYBODY, ANYBODY),
    ("useraccount",): Needs(ANYBODY, ANYBODY),
    ("user-token",): Needs(ANYBODY, ANYBODY),
    ("transaction",): Needs(ANYBODY, ANYBODY),
    ("confirm",): Needs(ANYBODY, ANYBODY),
    ("notices",): Needs(ANYBODY, CONTROLLER),
    ("openapi.json",): Needs(ANYBODY, CONTROLLER),
    ("events",): Needs("PERMISSION_TECHSUPPORT", CONTROLLER),
    ("alerts",): Needs("PERMISSION_ALERT", "PERMISSION_ALERT", here=True),
    ("alerts", "test"): Needs("PERMISSION_ALERT", "PERMISSION_ALERTCONFIG", here=True),
    ("top", ANY): Needs(ENGINE, CONTROLLER),
    ("ftp", ANY): Needs(ENGINE, CONTROLLER),
    ("licenseusage",): Needs(ANYBODY, CONTROLLER),
    ("analytics", "metrics", "controller"): Needs(ANYBODY, CONTROLLER),
    ("analytics", "metrics", "collection"): Needs(ANYBODY, ANYBODY),
    ("analytics", "metrics", "virtualservice", ANY): Needs(ANYBODY, ANYBODY),
    ("analytics", "metrics", "serviceengine", ANY): Needs(ANYBODY, ANYBODY),
    ("files",): Needs(ANYBODY, ANYBODY),
    ("files", "captures", ANY): Needs(ANYBODY, ANYBODY),
    ("files", "exports", ANY): Needs(ANYBODY, ANYBODY),
}
"""Where it is not the permission of the controller. The writes of a transaction are judged one by one; accounts,
files, metrics of objects and the confirmation of a commit judge for themselves.
"""


class Api:
    """Answers REST requests; safe to call from several threads at once."""

    def __init__(self, parties: Parties) -> None:
        lint(parties.schema)
        require_checks(parties.schema)
        switch, rehearsals = CaptureSwitch(parties.captures), Rehearsals()
        reads = Reads(parties.schema, parties.engines, switch, Bases(parties.store), parties.records.rates)
        self._gate = Gate(parties.schema, parties.accounts, parties.sessions)
        effects = Effects(switch, parties.accounts)
        changes = Changes(parties.schema, parties.committer, effects, rehearsals, self._gate)
        self._audit = parties.audit
        self._sign_in = SignIn(parties.accounts, parties.sessions, parties.audit, parties.status.version)
        self._committer = parties.committer
        self._timings = parties.records.requests
        self._confirmations = parties.confirmations
        self._objects = Objects(reads, changes, switch, self._gate, parties.records.events)
        self._resources = _resources(parties, reads, changes, rehearsals, self._objects, self._gate)

    def handle(self, request: Request) -> Response:
        """The answer; also every refusal is one. What it raises is a bug."""
        began = time.perf_counter()
        plain = "/" + "/".join(part for part in request.path.split("/") if part)  # clients write /api//pool/ as well
        head = request.method == "HEAD"
        request = replace(request, id=secrets.token_hex(8), path=plain, method="GET" if head else request.method)
        admitted = Admitted(request)
        try:
            response = self._sign_in.handle(request)
            if response is None:
                admitted = self._gate.admit(request)
                response = self._route(admitted.request)
        except CsrfError:
            response = Response(401, text="CSRF token missing or incorrect.")
        except AvishError as error:
            response = _refusal(error, numbered=request.path == TRANSACTION)
            if response.status == NOT_ALLOWED:
                response = replace(response, headers={"Allow": ", ".join(self._methods(request.path))})
        except RefusedError as error:
            response = _refusal(ApplyError(str(error)))
        except DataplaneError as error:
            response = _refusal(UnavailableError(f"the service engine does not answer: {error}"))
        self._timings.add(time.perf_counter() - began)
        self._record(admitted.request, response)
        return self._finished(admitted, _without_stream(response) if head else response)

    def _methods(self, path: str) -> list[str]:
        """What is allowed at a path."""
        parts = tuple(part for part in path.split("/") if part)
        place = parts[1:] if parts[1:] in self._resources else (*parts[1:-1], ANY)
        resource = self._resources.get(place)
        if path in (LOGIN, LOGOUT):
            return ["POST"]
        allowed = list(resource) if resource is not None else self._objects.methods(parts[1:])
        return [*allowed, "HEAD"] if "GET" in allowed else allowed

    def _finished(self, admitted: Admitted, response: Response) -> Response:
        """With what every answer carries."""
        revision = str(self._committer.head.config.revision)
        about = {REVISION: revision, REQUEST: admitted.request.id, **self._awaiting()}
        session = admitted.session
        renewed = session_cookies(session) if session is not None and not response.cookies else ()
        return replace(response, headers={**response.headers, **about}, cookies=(*response.cookies, *renewed))

    def _record(self, request: Request, response: Response) -> None:
        """Changes and refusals go to the audit; reads do not, and logins have written their own entry."""
        refused, status = response.status in (401, 403), response.status
        if request.path in (LOGIN, LOGOUT) or (request.method in READING and not refused):
            return
        told = {"method": request.method, "path": request.path[:500], "status": status, "tenant": request.tenant}
        if refused and isinstance(response.body, dict):
            told["reason"] = str(response.body.get("error", ""))[:500]
        event = "refused" if refused else "change" if status < 400 else "failed"
        revision = {} if status >= 400 else {"revision": self._committer.head.config.revision}
        write = self._audit.write if request.user else self._audit.write_some
        write(event, request.user, request.source, request.id, **told, **revision)

    def _route(self, request: Request) -> Response:
        parts = tuple(part for part in request.path.split("/") if part)
        if parts[:1] != ("api",) or len(parts) == 1:
            raise ValidationError(f"there is nothing at {request.path}: the API is below /api/", status=404)
        place = parts[1:] if parts[1:] in self._resources else (*parts[1:-1], ANY)
        resource = self._resources.get(place)
        if resource is None:
            return self._objects.handle(request, parts[1:])
        if request.method not in resource:
            raise ValidationError(f"Method {request.method!r} not allowed at {request.path}", status=405)
        self._allowed(request, place)
        return resource[request.method](request)

    def _allowed(self, request: Request, place: Parts) -> None:
        """ValidationError (403) when what is no object is not for this user."""
        if request.path in PUBLIC:
            return
        level = READ if request.method in READING else WRITE
        needs = PERMISSIONS.get(place) or PERMISSIONS.get((*place[:-1], ANY), Needs())
        wanted = needs.read if level == READ else needs.write
        scope = self._gate.scope(request)
        tenant, name = (request.tenant, scope.name) if needs.here else (ADMIN_TENANT, ADMIN_TENANT)
        require(scope.caller, wanted, tenant, level, name)

    def _awaiting(self) -> dict[str, str]:
        """The header that tells of a commit that awaits its confirmation: revision, seconds, user."""
        pending = self._confirmations.pending
        if pending is None:
            return {}
        left = math.ceil(pending.left(self._confirmations.now()))
        return {CONFIRM: f"{pending.revision} {left} {pending.user}"}


def _resources(
    parties: Parties, reads: Reads, changes: Changes, rehearsals: Rehearsals, objects: Objects, gate: Gate
) -> dict[Parts, Mapping[str, Handler]]:
    """What is no object, by path below /api/ and method."""
    schema, committer, status = parties.schema, parties.committer, parties.status
    confirmations, rollbacks, notices = parties.confirmations, parties.rollbacks, parties.notices
    transactions = Transactions(reads, changes, objects, gate)
    own = OwnAccount(parties.accounts, parties.sessions, gate, parties.audit)
    past = Past(
        schema=schema,
        committer=committer,
        store=parties.store,
        confirmations=confirmations,
        rollbacks=rollbacks,
        changes=changes,
    )
    configuration = Configuration(schema, changes, parties.engines)
    support = Support(
        schema=schema,
        store=parties.store,
        committer=committer,
        engines=parties.engines,
        status=status,
        records=parties.records,
        configuration=configuration,
        home=parties.records.home,
    )
    confirm = Confirm(committer, confirmations, rollbacks, notices, gate)
    analytics = Analytics(parties.records.rates, parties.engines, lambda: committer.head.config, gate)
    files = Files(parties.captures.folder, parties.exports, gate)
    return {
        **_systemwide(schema, committer, reads),
        **parties.records.resources(),
        ("tech-support",): {"POST": support.post},
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
        ("openapi.json",): _once(lambda: OpenApi(schema, status.version()["Tag"]).document()),
        ("files",): {"GET": files.listing},
        ("files", "captures", ANY): {"GET": files.get},
        ("files", "exports", ANY): {"GET": files.get, "PUT": files.put, "DELETE": files.delete},
        ("jobs",): _report(lambda: {"results": [job.record() for job in parties.captures.jobs()]}),
        ("audit",): {"GET": lambda request: _audited(parties.audit, request)},
        **own.resources(),
        **analytics.resources(),
    }


def _without_stream(response: Response) -> Response:
    """An answer to HEAD: what it would follow is not begun."""
    if close := getattr(response.stream, "close", None):
        close()
    return replace(response, stream=None)


def _audited(audit: Audit, request: Request) -> Response:
    """The last entries, newest first; ``user``, ``event`` and ``request`` choose some of them."""
    chosen = {name: value for name, value in request.query.items() if name in ("user", "event", "request", "source")}
    found = audit.entries(chosen)
    return Response(200, {"count": len(found), "results": found})


def _systemwide(schema: Schema, committer: Committer, reads: Reads) -> dict[Parts, Mapping[str, Handler]]:
    """The shows of the grammar that are about no object."""

    def resource(run: str) -> Handler:
        return lambda r: Response(200, reads.answer(reads.moment(committer.head, r.host, r.query), run, {}))

    return {
        tuple(command.api.split("/")): {"GET": resource(command.run)}
        for command in schema.commands
        if command.run and not any(word.startswith("<") for word in command.path)
    }


def _once(make: Callable[[], Any]) -> Mapping[str, Handler]:
    """What never changes, made when it is first asked for."""
    made = cache(make)
    return {"GET": lambda _: Response(200, made())}


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

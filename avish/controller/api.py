"""The seam: a Request and the controller's state to a Response. No sockets in here."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from avish.api.request import Request, Response
from avish.config.checks import require_checks
from avish.config.config import Body
from avish.config.store import Who
from avish.controller import debug
from avish.controller.access import authorise
from avish.controller.bodies import differences
from avish.controller.captures import Captures
from avish.controller.commit import Committer, Outcome
from avish.controller.debug import CaptureSwitch
from avish.controller.engines import Engine
from avish.controller.reads import Moment, Reads, Wanted
from avish.controller.status import Status
from avish.controller.writes import METHODS, Write, parse_transaction, requests_of
from avish.errors import ApplyError, AvishError, Issue, UnavailableError, ValidationError
from avish.operate.registry import lint
from avish.schema.model import ObjectType, Schema
from dataplane.errors import DataplaneError, RefusedError

log = logging.getLogger(__name__)

REVISION = "X-Avish-Revision"
WARNINGS = "X-Avish-Warnings"
WARNINGS_SHOWN = 30
"""More would not fit into a header."""
Parts = tuple[str, ...]


class Api:
    """Answers REST requests; safe to call from several threads at once."""

    def __init__(
        self, schema: Schema, committer: Committer, engines: Mapping[str, Engine], captures: Captures, status: Status
    ) -> None:
        lint(schema)
        require_checks(schema)
        self._committer = committer
        self._switch = CaptureSwitch(captures)
        self._reads = Reads(schema, engines, self._switch)
        self._boot = secrets.token_hex(4)
        self._reports: Mapping[Parts, Callable[[], dict[str, Any]]] = {
            ("cluster", "version"): status.version,
            ("cluster", "runtime"): status.cluster,
            ("initial-data",): lambda: {"version": status.version()},
            ("avish", "status"): status.report,
            ("avish", "check"): status.check,
        }

    def handle(self, request: Request) -> Response:
        """The answer; also every refusal is one. What it raises is a bug."""
        try:
            authorise(request)
            response = self._route(request)
        except AvishError as error:
            response = _refusal(error)
        except RefusedError as error:
            response = _refusal(ApplyError(str(error)))
        except DataplaneError as error:
            response = _refusal(UnavailableError(f"the service engine does not answer: {error}"))
        revision = str(self._committer.head.config.revision)
        return Response(response.status, response.body, {**response.headers, REVISION: revision}, response.stream)

    def _route(self, request: Request) -> Response:
        parts = tuple(part for part in request.path.split("/") if part)
        if parts[:1] != ("api",) or len(parts) == 1:
            raise ValidationError(f"there is nothing at {request.path}: the API is below /api/", status=404)
        if parts[1:] in self._reports:
            return Response(200, self._reports[parts[1:]]())
        if parts[1:] == ("transaction",):
            return self._transaction(request)
        kind = self._reads.kind(parts[1])
        if request.method == "GET":
            return self._get(request, kind, parts[2:])
        if request.method not in METHODS or len(parts) > 3 or (request.method == "POST" and len(parts) == 3):
            raise ValidationError(f"Method {request.method!r} not allowed at {request.path}", status=405)
        name = "" if request.method == "POST" else request.query.get("name", "")
        uuid = parts[2] if len(parts) == 3 else ""
        return self._write(
            request, Write(request.method, kind, uuid, name, request.body, request.headers.get("slug", ""))
        )

    # --- reading

    def _get(self, request: Request, kind: ObjectType, rest: Parts) -> Response:
        moment = self._reads.moment(self._committer.head, request.host)
        if not rest:
            return self._collection(request, moment, kind)
        stored = self._reads.stored(moment.view.config, kind, rest[0])
        if len(rest) == 1:
            return Response(200, self._reads.shown(moment, kind, stored, Wanted.of(request.query)))
        if (kind.name, rest[1:]) == (debug.KIND, ("capture",)):
            return Response(200, stream=self._switch.events(stored))
        return Response(200, self._reads.command(moment, kind, rest[0], "/".join(rest[1:])))

    def _collection(self, request: Request, moment: Moment, kind: ObjectType) -> Response:
        """A list; with a tag, unless it shows more than the configuration."""
        wanted = Wanted.of(request.query)
        tag = f'"{self._boot}.{moment.view.config.revision}"'
        headers = {} if kind.names or wanted.runtime else {"ETag": tag}
        if headers and request.headers.get("if-none-match") == tag:
            return Response(304, None, headers)
        return Response(200, self._reads.collection(moment, kind, wanted), headers)

    # --- writing

    def _write(self, request: Request, write: Write) -> Response:
        outcome = self._commit(request, [write])
        if _dry(request):
            return Response(200, _rehearsal(outcome), _warnings(outcome))
        if write.method == "DELETE":
            return Response(204, None, _warnings(outcome))
        body = self._written(request, outcome)[0]
        headers = _warnings(outcome)
        if write.method == "POST":
            headers["Location"] = body["url"]
        return Response(201 if write.method == "POST" else 200, body, headers)

    def _transaction(self, request: Request) -> Response:
        if request.method != "POST":
            raise ValidationError(f"Method {request.method!r} not allowed at {request.path}", status=405)
        writes = parse_transaction(request.body, self._reads)
        outcome = self._commit(request, writes)
        if _dry(request):
            return Response(200, _rehearsal(outcome), _warnings(outcome))
        codes = {"POST": 201, "DELETE": 204}
        bodies = self._written(request, outcome)
        results = [{"status": codes.get(w.method, 200), "body": b} for w, b in zip(writes, bodies, strict=True)]
        return Response(200, {"results": results}, _warnings(outcome))

    def _commit(self, request: Request, writes: list[Write]) -> Outcome:
        outcome = self._committer.commit(
            lambda head: requests_of(writes, head, self._reads),
            _who(request),
            effect=self._switch.effect(request.user),
            dry_run=_dry(request),
        )
        for change in () if _dry(request) else outcome.changes:
            verb = "deleted" if change.body is None else "wrote"
            log.info(
                "%s %s %s %s (revision %d)", request.user, verb, change.type, change.uuid, outcome.head.config.revision
            )
        return outcome

    def _written(self, request: Request, outcome: Outcome) -> list[Body]:
        moment = self._reads.moment(outcome.head, request.host)
        found = [(self._reads.kind(kind), outcome.head.config.get(kind, uuid)) for kind, uuid in outcome.written]
        return [self._reads.shown(moment, kind, stored) if stored else {} for kind, stored in found]


def _dry(request: Request) -> bool:
    return request.query.get("dryrun", "") not in ("", "0", "false")


def _who(request: Request) -> Who:
    return Who(request.user, request.source, request.headers.get("x-avish-comment", ""))


def _rehearsal(outcome: Outcome) -> dict[str, Any]:
    """{"objects": [{"action", "type", "uuid", "name", "changes"}], "kernel": {engine: [step in words]}}."""
    objects = []
    for change in outcome.changes:
        before = outcome.old.get(change.type, change.uuid)
        action = "delete" if change.body is None else "update" if before else "create"
        objects.append(
            {
                "action": action,
                "type": change.type,
                "uuid": change.uuid,
                "name": (change.body or before or {}).get("name", ""),
                "changes": []
                if action != "update"
                else [one for one in differences(before, change.body) if one["field"] != "_last_modified"],
            }
        )
    return {"objects": objects, "kernel": dict(outcome.kernel)}


def _warnings(outcome: Outcome) -> dict[str, str]:
    texts = [str(issue) for issue in outcome.warnings]
    if len(texts) > WARNINGS_SHOWN:
        texts = [*texts[:WARNINGS_SHOWN], f"and {len(texts) - WARNINGS_SHOWN} more warnings"]
    return {WARNINGS: json.dumps(texts)} if texts else {}


def _refusal(error: AvishError) -> Response:
    issues = error.issues if isinstance(error, ValidationError) else [Issue("", str(error))]
    told = [{"path": issue.path, "text": issue.text, "severity": issue.severity} for issue in issues]
    return Response(error.http_status, {"error": str(error), "issues": told})

"""The objects as resources: /api/<type>, /api/<type>/<uuid> and the show commands below; singletons at /api/<type>."""

from __future__ import annotations

import secrets

from avish.api.request import Request, Response
from avish.config.config import Body
from avish.controller import debug
from avish.controller.access import FOREIGN, INFRASTRUCTURE, READ, WRITE
from avish.controller.changes import Changes, dry, warnings
from avish.controller.commit import Outcome
from avish.controller.debug import CaptureSwitch
from avish.controller.events import Events
from avish.controller.gate import Gate
from avish.controller.reads import Moment, Reads, Wanted
from avish.controller.writes import Write, allowed, requests_of, uuid_in_path
from avish.schema.model import ObjectType

Parts = tuple[str, ...]
TOLD = ("switchover", "reboot")
"""Actions that are events."""


class Objects:
    """Reads, and single writes."""

    def __init__(self, reads: Reads, changes: Changes, switch: CaptureSwitch, gate: Gate, events: Events) -> None:
        self._events = events
        self._gate = gate
        self._reads = reads
        self._changes = changes
        self._switch = switch
        self._boot = secrets.token_hex(4)

    def handle(self, request: Request, parts: Parts) -> Response:
        """``parts``: the path below /api/."""
        kind = self._reads.kind(parts[0])
        if request.method == "GET":
            return self._get(request, kind, parts[1:])
        if request.method == "POST" and len(parts) > 2:
            scope = self._gate.scope(request)
            scope.require(kind.name, WRITE)
            moment = self._reads.moment(self._changes.head(request), request.host, request.query, scope)
            body = self._reads.seen(moment, kind, parts[1])
            scope.require_there(kind.name, body, WRITE)
            answer = self._reads.command(moment, kind, parts[1], "/".join(parts[2:]), "POST")
            if parts[2] in TOLD:
                self._tell(request, kind, body, parts[2])
            return Response(200, answer)
        if request.method == "PUT" and kind.singleton and request.body in (None, False):
            return self._get(request, kind, ())  # the vendor's client sends nothing for "leave it as it is"
        allowed(request.method, kind, parts, request.path)
        name = "" if request.method == "POST" else request.query.get("name", "")
        slug = request.headers.get("slug", "")
        uuid = uuid_in_path(kind, parts)
        return self._write(request, Write(request.method, kind, uuid, name, request.body, slug))

    def methods(self, parts: Parts) -> list[str]:
        """What is allowed at a path below /api/."""
        kind = self._reads.kind(parts[0])
        if len(parts) > 2:
            return [self._reads.method("/".join(parts[2:]))]
        if kind.verb == "show":
            return ["GET"]
        beyond = [] if kind.singleton else ["DELETE"]
        return ["GET", "PUT", "PATCH", *beyond, *(["POST"] if len(parts) == 1 and not kind.singleton else [])]

    def _tell(self, request: Request, kind: ObjectType, body: Body, action: str) -> None:
        """Somebody did this: it is an event, with its author."""
        text = f"{action} of {kind.name} {body['name']} by {request.user}"
        obj = (kind.name, str(body["uuid"]), str(body["name"]))
        self._events.add("CONFIG_ACTION", text, obj=obj, user=request.user, details={"source": request.source})

    def written(self, request: Request, outcome: Outcome) -> list[Body]:
        """The objects of each request as they are now, {} for those that are gone."""
        moment = self._reads.moment(outcome.head, request.host, scope=self._gate.scope(request))
        found = [(self._reads.kind(kind), outcome.head.config.get(kind, uuid)) for kind, uuid in outcome.written]
        return [self._reads.shown(moment, kind, stored) if stored else {} for kind, stored in found]

    def _get(self, request: Request, kind: ObjectType, rest: Parts) -> Response:
        scope = self._gate.scope(request)
        scope.require(kind.name, READ)
        moment = self._reads.moment(self._changes.head(request), request.host, request.query, scope)
        if not rest and not kind.singleton:
            return self._collection(request, moment, kind)
        uuid = rest[0] if rest else kind.name
        stored = self._reads.seen(moment, kind, uuid)
        if len(rest) < 2:
            return Response(200, self._reads.shown(moment, kind, stored, Wanted.of(request.query)))
        if kind.names and rest[1:] in debug.RESOURCES:
            scope.require_there(kind.name, debug.owned(moment.view.config, kind, stored), READ)
            return Response(200, stream=self._switch.below(kind.name, stored, rest[1:], request.query))
        if kind.name in INFRASTRUCTURE and rest[1].startswith(FOREIGN):
            scope.require_there(kind.name, stored, READ)
        return Response(200, self._reads.command(moment, kind, uuid, "/".join(rest[1:])))

    def _collection(self, request: Request, moment: Moment, kind: ObjectType) -> Response:
        """A list; with a tag, unless it shows more than the configuration."""
        wanted = Wanted.of(request.query)
        who = f"{request.user}.{request.tenant}"
        tag = f'"{self._boot}.{moment.view.config.revision}.{who}"'
        tagged = not (kind.names or wanted.runtime or request.query.get("after"))
        headers = {"ETag": tag} if tagged else {}
        if headers and request.headers.get("if-none-match") == tag:
            return Response(304, None, headers)
        return Response(200, self._reads.collection(moment, kind, wanted), headers)

    def _write(self, request: Request, write: Write) -> Response:
        scope = self._gate.scope(request)
        safe, hashes = self._changes.credentials([write])
        outcome = self._changes.make(request, lambda config: requests_of(safe, config, self._reads, scope), hashes)
        if dry(request):
            return self._changes.rehearsed(request, outcome)
        if write.method == "DELETE":
            return Response(204, None, warnings(outcome))
        body, headers = self.written(request, outcome)[0], warnings(outcome)
        if write.method == "POST":
            headers["Location"] = body["url"]
        return Response(201 if write.method == "POST" else 200, body, headers)

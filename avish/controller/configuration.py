"""The configuration as a file in the vendor's shape: GET /api/configuration/export, POST /api/configuration/import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from typing import Any

import avish
from avish.api.request import Request, Response
from avish.config.config import Body, Config
from avish.config.imported import Counted, Entry, Plan, counted, read
from avish.config.normalise import HOMES
from avish.config.target import named
from avish.config.transaction import Request as Wanted
from avish.config.wellknown import ADMIN_TENANT, DEFAULT_GROUP, ENGINE_GROUP
from avish.controller.bodies import Renderer, Show
from avish.controller.changes import Changes, dry, flag, warnings
from avish.controller.commit import Outcome
from avish.controller.status import MODEL_VERSION
from avish.errors import Issue, ValidationError
from avish.schema.model import ObjectType, Schema

Named = tuple[str, str]
"""Type and uuid of an object."""
NOT_CARRIED = ("virtualservice_l4_only", "persistence_is_layer_4", "global_algorithms")
"""Checks of what this dataplane does not carry: in a file, what they refuse is left out and told."""
EVERYWHERE = frozenset({*((kind, name) for _, kind, name in HOMES), (ENGINE_GROUP, DEFAULT_GROUP)})
"""Objects that each controller has and fills in its own way: not part of a virtual service."""
NAMES_TOLD = 10
ROUNDS = 8
"""Attempts without what was refused before."""


class Configuration:
    """``engines``: the names of those of the topology."""

    def __init__(self, schema: Schema, changes: Changes, engines: Collection[str]) -> None:
        self._schema = schema
        self._changes = changes
        self._engines = engines
        self._renderer = Renderer()

    # --- export

    def export(self, request: Request) -> Response:
        """Everything, or with ``virtualservice=NAME`` one service and what it refers to."""
        config = self._changes.head(request).config
        service = request.query.get("virtualservice", "")
        wanted = self._of_service(config, service) if service else self._all(config)
        name = cache(lambda ref: named(config, ref))
        found: dict[str, list[Body]] = {}
        for kind, uuid in wanted:
            body = config.get(kind, uuid)
            if body is not None:
                object_type = self._schema.object(kind)
                found.setdefault(object_type.title, []).append(self._exported(object_type, body, name))
        about = {
            "version": {"Product": "avish", "Version": MODEL_VERSION, "Tag": f"avish-{avish.__version__}"},
            "use_tenant": ADMIN_TENANT,
            "encrypted_sensitive_fields": False,
            "revision": config.revision,
            "order": list(found),
        }
        return Response(200, {"META": about, **found})

    def _all(self, config: Config) -> Iterator[Named]:
        for kind in self._schema.index:
            yield from ((kind, uuid) for uuid in config.table(kind))

    def _of_service(self, config: Config, name: str) -> list[Named]:
        """The service, and all that it leads to, type by type as in a whole export."""
        uuid = config.uuid_of("virtualservice", name)
        if uuid is None:
            raise ValidationError(f"there is no virtualservice called {name!r}", status=404)
        found: dict[Named, None] = {("virtualservice", uuid): None}
        waiting = list(found)
        while waiting:
            owner, of = waiting.pop()
            for ref in self._renderer.targets(self._schema.object(owner), config.get(owner, of) or {}):
                kind, other = _kind_and_uuid(ref)
                if (kind, other) not in found and not _everywhere(kind, config.get(kind, other)):
                    found[kind, other] = None
                    waiting.append((kind, other))
        order = list(self._schema.index)
        return sorted(found, key=lambda one: order.index(one[0]))

    def _exported(self, kind: ObjectType, body: Body, name: Show) -> Body:
        shown = self._renderer.plain(kind, body, name)
        shown.pop("_last_modified", None)
        return {"url": f"/api/{kind.name}/{body['uuid']}", **shown}

    # --- import

    def take(self, request: Request) -> Response:
        """All that can be taken of a file as one commit, and what was left out of it.

        The body is the file, or {"configuration": the file}. Query: ``keep_uuid=1``, ``dryrun=1``.
        """
        document, keep_uuid = _document(request)

        def read_for(config: Config) -> Plan:
            return read(self._schema, config, document, self._engines, keep_uuid=keep_uuid)

        attempt = _Attempt(read_for)
        for _ in range(ROUNDS):
            try:
                outcome = self._changes.make(request, attempt.ask)
            except ValidationError as error:
                if not attempt.without(error.issues):
                    raise
            else:
                return Response(200, self._told(request, attempt, outcome), warnings(outcome))
        raise ValidationError("the file holds too much that depends on what is not carried here")

    def _told(self, request: Request, attempt: _Attempt, outcome: Outcome) -> Body:
        plan = attempt.plan
        changed = {(change.type, change.uuid) for change in outcome.changes}
        tally: dict[str, Counter[str]] = {"created": Counter(), "updated": Counter(), "unchanged": Counter()}
        for entry in attempt.entries:
            word = "unchanged" if (entry.kind.name, entry.uuid) not in changed else "updated"
            tally["created" if entry.existing is None and word == "updated" else word][entry.kind.title] += 1
        told: Body = {
            **{word: dict(counts) for word, counts in tally.items()},
            "left_out": _left_out(plan.left_out, "type", "reason"),
            "fields_left_out": _left_out(plan.fields_left_out, "type", "field", "reason"),
            "revision": outcome.old.revision if dry(request) else outcome.head.config.revision,
        }
        if not dry(request):
            return told
        return {**told, "kernel": dict(outcome.kernel), "token": self._changes.keep(request, outcome)}


def _kind_and_uuid(ref: str) -> Named:
    kind, _, uuid = ref.removeprefix("/api/").partition("/")
    return kind, uuid


def _everywhere(kind: str, body: Body | None) -> bool:
    return body is None or (kind, body.get("name", "")) in EVERYWHERE


def _document(request: Request) -> tuple[Any, bool]:
    body, keep = request.body, flag(request, "keep_uuid")
    if isinstance(body, dict) and isinstance(body.get("configuration"), dict):
        return body["configuration"], keep or bool(body.get("keep_uuid"))
    return body, keep


class _Attempt:
    """A file made into requests, for whatever is the head when it is its turn."""

    def __init__(self, read_for: Callable[[Config], Plan]) -> None:
        self._read_for = read_for
        self._seen: Config | None = None
        self.plan = Plan([], {}, {}, [])
        self.entries: list[Entry] = []

    def ask(self, config: Config) -> Iterable[Wanted]:
        """The requests."""
        if config is not self._seen:
            self._seen, self.plan = config, self._read_for(config)
        self.entries, requests = self.plan.requests()
        return requests

    def without(self, issues: list[Issue]) -> bool:
        """Leave out the objects that this dataplane does not carry; False when that is not all that is wrong."""
        places = [(issue.request, issue.text) for issue in issues if issue.check in NOT_CARRIED]
        known = [(number, text) for number, text in places if number is not None]
        if not known or len(known) < len(issues):
            return False
        for number, text in known:
            self.plan.leave_out(self.entries[number], text)
        return True


def _left_out(found: Counted, *keys: str) -> list[Body]:
    """{"type", .., "count", "reason", "names": the first of them}, the most frequent first."""
    return [
        {**dict(zip(keys, key, strict=True)), "count": count, "names": found[key][:NAMES_TOLD]}
        for key, count in counted(found)
    ]

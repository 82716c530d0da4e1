"""GETs of objects: filtered, paged, joined, with the runtime beside them. Nothing here waits for a commit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from avish.config.config import Body, Config
from avish.config.normalise import normalise
from avish.controller import debug
from avish.controller.access import Scope
from avish.controller.bases import Bases
from avish.controller.bodies import Renderer, selected, without_defaults
from avish.controller.commit import Head
from avish.controller.cursors import Cursors
from avish.controller.engines import Engine
from avish.controller.founded import Founded
from avish.controller.labels import ALL as EVERYWHERE
from avish.errors import ValidationError
from avish.operate.listing import Listing
from avish.operate.registry import RUN, RUNTIME
from avish.operate.view import RateBook, View
from avish.schema.model import ObjectType, Schema
from avish.schema.types import Ref

REF_FILTERS = ("_ref.name", "_ref.uuid")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a GET asks for, out of its query."""

    filters: Mapping[str, str]
    fields: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    runtime: bool = False
    skip_default: bool = False
    founded: bool = False
    """Mark what a fresh controller has by itself."""
    refers_to: str = ""
    referred_by: str = ""
    """type:uuid of an object that those asked for refer to (are referred to by)."""
    page: int = 1
    page_size: int = 0
    """0: all."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Unknown parameters are passed over, as the vendor does."""
        filters = {key: value for key, value in query.items() if key in ("name", "uuid") or key.endswith(REF_FILTERS)}
        size = _number(query, "page_size", 0)
        if "page" in query and size == 0:
            size = 25
        return cls(
            filters=filters,
            fields=_words(query.get("fields", "")),
            joins=_words(query.get("joins", "")),
            runtime="runtime" in _words(query.get("join_subresources", "")),
            skip_default=query.get("skip_default", "").lower() in ("true", "1"),
            founded=query.get("founded") == "1",
            refers_to=query.get("refers_to", "").rpartition(":")[2],
            referred_by=query.get("referred_by", "").rpartition(":")[2],
            page=max(_number(query, "page", 1), 1),
            page_size=max(size, 0),
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    try:
        return int(query.get(name, otherwise))
    except ValueError:
        raise ValidationError(f"{name}: {query[name]!r} is not a whole number") from None


def _size(query: Mapping[str, str]) -> int:
    """Rows of a page of a long answer."""
    return min(max(_number(query, "page_size", ROWS), 1), MOST_ROWS)


ROWS, MOST_ROWS = 500, 10_000
BESIDE = {("serviceengine", "probe"): "se.probe"}
"""Functions that verbs of the shell ask for, by object type and path."""
FOUNDED = "_founded"
"""Key of the mark; not part of the object."""
CLEAR = "/clear"
"""How the path of a command ends whose counters shall start again."""
NOTHING: Mapping[str, str] = MappingProxyType({})
ALL = Wanted({})
"""Everything that is stored, and nothing beside it."""


EVERYTHING = Scope(tenant=EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Moment:
    """What one request looks at. ``base``: how the caller's URLs begin; ``scope``: what it may see."""

    view: View
    base: str
    scope: Scope = EVERYTHING


class Reads:
    """Answers GETs."""

    def __init__(
        self,
        schema: Schema,
        engines: Mapping[str, Engine],
        switch: debug.CaptureSwitch,
        bases: Bases,
        rates: RateBook | None = None,
    ) -> None:
        self._schema = schema
        self._bases = bases
        self._rates = rates
        self._cursors = Cursors()
        self._engines = engines
        self.engine_names = engines.keys()
        self._switch = switch
        self._renderer = Renderer()
        self._founded = Founded(schema)
        self._commands = {
            (argument[1:-1], command.api): command.run
            for command in schema.commands
            for argument in command.path
            if command.run and argument.startswith("<")
        } | BESIDE
        self._acting = {command.api for command in schema.commands if command.run and command.method != "GET"}
        self._acting.add("probe")

    def kind(self, name: str) -> ObjectType:
        """The object type of a path; ValidationError (404) with the nearest name."""
        if name not in self._schema.index:
            if reason := self._schema.outside.get(name):
                raise ValidationError(f"there is no {name} here: {reason}", status=404)
            near = difflib.get_close_matches(name, self._schema.index, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValidationError(f"there is no object type {name!r}{hint}", status=404)
        return self._schema.object(name)

    def moment(self, head: Head, host: str, query: Mapping[str, str] = NOTHING, scope: Scope = EVERYTHING) -> Moment:
        """What a request sees: the configuration of ``head``, the engines as they are now, and its own words."""
        seen = {name: engine.seen(head.state(name)) for name, engine in self._engines.items()}
        return Moment(View(head.config, head.ids, seen, query, self._rates), f"https://{host}", scope)

    def seen(self, moment: Moment, kind: ObjectType, uuid: str) -> Body:
        """The object of that uuid, if it may be seen; ValidationError (404) otherwise."""
        body = self.stored(moment.view.config, kind, uuid)
        if not moment.scope.sees(kind.name, debug.owned(moment.view.config, kind, body)):
            raise ValidationError(f"{kind.title} object {uuid} not found!", status=404)
        return body

    def collection(self, moment: Moment, kind: ObjectType, wanted: Wanted) -> Body:
        """{"count": .., "results": [..], "next": url when there is more}."""
        found = self._matching(moment, kind, wanted)
        start = (wanted.page - 1) * wanted.page_size
        page = found[start : start + wanted.page_size] if wanted.page_size else found
        answer: Body = {"count": len(found), "results": [self.shown(moment, kind, body, wanted) for body in page]}
        if wanted.page_size and start + wanted.page_size < len(found):
            following = f"page={wanted.page + 1}&page_size={wanted.page_size}"
            answer["next"] = f"{moment.base}/api/{kind.name}?{following}"
        return answer

    def stored(self, config: Config, kind: ObjectType, uuid: str) -> Body:
        """The object of that uuid as stored (or as a debug object is by default); ValidationError (404) without one."""
        body = debug.body_of(config, kind, uuid) if kind.names else config.get(kind.name, uuid)
        if body is None and kind.singleton and uuid == kind.name:
            body, _ = normalise(config, kind, {}, None, uuid)  # of a store that is older than the type
        if body is None:
            raise ValidationError(f"{kind.title} object {uuid} not found!", status=404)
        return body

    def shown(self, moment: Moment, kind: ObjectType, stored: Body, wanted: Wanted = ALL) -> Body:
        """An object as a GET, POST or PUT answers it."""
        chosen = selected(stored, wanted.fields) if wanted.fields else stored
        if wanted.skip_default:
            chosen = without_defaults(kind, chosen)
        body = self._renderer.body(moment.view.config, kind, chosen, moment.base)
        for name in wanted.joins:
            if data := self._joined(moment, kind, stored, name):
                body[f"{name}_data"] = data if kind.fields[name].list else data[0]
        if status := self._switch.status(kind.name, stored):
            body[debug.STATUS] = status
        if wanted.runtime and kind.name in RUNTIME:
            body["runtime"] = RUNTIME[kind.name](moment.view, stored)
        if wanted.founded and self._founded.holds(moment.view.config, kind, stored):
            body[FOUNDED] = True
        return body

    def command(self, moment: Moment, kind: ObjectType, uuid: str, api: str, method: str = "GET") -> Any:
        """The answer of a command; ValidationError (404) when there is no such command, (405) by another method."""
        run = self._commands.get((kind.name, api))
        body = self.stored(moment.view.config, kind, uuid)
        if run is None:
            known = sorted(name for owner, name in self._commands if owner == kind.name)
            hint = f"; there are {', '.join(known)}" if known else ""
            raise ValidationError(f"a {kind.name} has no {api!r}{hint}", status=404)
        if (api in self._acting) != (method != "GET"):
            raise ValidationError(f"Method {method!r} not allowed at {api} of a {kind.name}", status=405)
        return self.answer(moment, run, body, clear=api.endswith(CLEAR))

    def method(self, api: str) -> str:
        """By which method a command is carried out."""
        return "POST" if api in self._acting else "GET"

    def answer(self, moment: Moment, run: str, body: Body, *, clear: bool = False) -> Any:
        """What a function of the registry says: whole or a page of it, counted from the base; None when cleared."""
        query = moment.view.query
        if token := query.get("cursor", ""):
            return self._cursors.following(token, _size(query))
        key = (str(body.get("uuid", "")), run)
        answer = RUN[run](moment.view, body)
        if isinstance(answer, Listing):
            return self._cursors.first(answer, _size(query)) if "page_size" in query else answer.whole()
        if clear:
            self._bases.keep(key, answer)
            return None
        return self._bases.applied(key, answer)

    def _matching(self, moment: Moment, kind: ObjectType, wanted: Wanted) -> list[Body]:
        """The objects that are seen and meet the filters. Of a name that another tenant shares, the own one comes."""
        config, filters, sees = moment.view.config, wanted.filters, moment.scope.sees
        if kind.names:
            bodies: Iterable[Body] = debug.all_bodies(config, kind)
        elif "name" in filters and moment.scope.tenant != EVERYWHERE:
            found = moment.scope.find(config, kind.name, filters["name"])
            bodies = [found] if found else []
        else:
            bodies = config.all(kind.name)
        bodies = [body for body in bodies if sees(kind.name, debug.owned(config, kind, body))]
        found_all = [
            body for body in bodies if all(_matches(config, body, key, value) for key, value in filters.items())
        ]
        return related(config, found_all, wanted) if wanted.refers_to or wanted.referred_by else found_all

    def _joined(self, moment: Moment, kind: ObjectType, stored: Body, name: str) -> list[Body]:
        """The objects that the references of a field lead to."""
        field = kind.fields.get(name)
        if field is None or not isinstance(field.type, Ref) or field.type.loose or name not in stored:
            return []
        target_kind, config = self._schema.object(field.type.to), moment.view.config
        targets = [config.target(ref) for ref in (stored[name] if field.list else [stored[name]])]
        return [self._renderer.body(config, target_kind, target, moment.base) for target in targets if target]


def _matches(config: Config, body: Body, key: str, value: str) -> bool:
    if key.endswith(REF_FILTERS):
        field, _, name = key.rpartition(".")
        target = config.target(body.get(field))
        return target is not None and target[name] == value
    return bool(body.get(key) == value)


def related(config: Config, bodies: list[Body], wanted: Wanted) -> list[Body]:
    """Those of ``bodies`` that refer to one object and are referred to by another, as far as that was asked for."""
    if wanted.refers_to:
        referrers = {uuid for _, uuid in config.referrers(wanted.refers_to)}
        bodies = [body for body in bodies if body["uuid"] in referrers]
    if wanted.referred_by:
        bodies = [body for body in bodies if wanted.referred_by in {uuid for _, uuid in config.referrers(body["uuid"])}]
    return bodies

"""One shell session: a line in, effects out. Pure: ``run`` is a generator that is sent the replies to its calls."""

from __future__ import annotations

import difflib
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

from avish.errors import (
    ApplyError,
    AvishError,
    BugError,
    ConflictError,
    Issue,
    ParseError,
    UnavailableError,
    ValidationError,
)
from avish.lang import lex
from avish.lang.tree import Op, Tree
from avish.lang.walk import Walk, name_place, parse
from avish.schema.model import Command, Message, ObjectType
from avish.shell import render
from avish.shell.candidate import Body, Candidate, missing
from avish.shell.effects import Call, Document, Effect, Exit, Print, Reply, Stream, Warn
from avish.shell.rehearsal import Rehearsal, Step

Run = Generator[Effect, Reply | None, None]
Asked = Generator[Effect, Reply | None, Reply]
EDITING = frozenset({"set", "enter", "index", "range", "unset", "discard"})


class Session:
    """The state of one shell: the tenant, and the object being edited, if any."""

    def __init__(
        self,
        tree: Tree,
        host: str,
        *,
        tenant: str = "admin",
        dry_run: bool = False,
        abbreviate: bool = False,
        brief: bool = False,
    ) -> None:
        self.tree = tree
        self.host = host.partition(".")[0] if not host[:1].isdigit() else host.replace(".", "-")
        self.tenant = tenant
        self.abbreviate = abbreviate
        self.brief = brief
        self.candidate: Candidate | None = None
        self._rehearsal = Rehearsal() if dry_run else None

    @property
    def modes(self) -> list[Message]:
        """The messages of the open modes."""
        return self.candidate.modes if self.candidate else []

    @property
    def mode(self) -> str:
        """The path of the open modes, "" at the top."""
        return self.candidate.path if self.candidate else ""

    @property
    def prompt(self) -> str:
        """``[admin:host]: pool:servers> ``."""
        return f"[{self.tenant}:{self.host}]: {self.mode}> "

    def run(self, line: str) -> Run:
        """Carry out one line. Raises AvishError; what was saved before the error stays saved."""
        text = line.strip()
        if not text or text.startswith("#"):
            return
        walk = yield from self._parsed(line.rstrip("\r\n"))
        ops = iter(walk.ops)
        for op in ops:
            if op[0] == "remove":
                yield from _print(self._editing().remove(op[1], list(ops)))
            else:
                yield from self._do(op, walk)
        if self.candidate:
            yield from _print(self.candidate.settle())

    def _parsed(self, line: str) -> Generator[Effect, Reply | None, Walk]:
        """The walk of a line. An existing object's name with blanks is taken without quotes as well."""
        try:
            return parse(self.tree, self.modes, line, abbreviate=self.abbreviate)
        except ParseError as error:
            quoted = yield from self._quoted(line)
            if not quoted:
                raise error from None
        return parse(self.tree, self.modes, quoted, abbreviate=self.abbreviate)

    def _quoted(self, line: str) -> Generator[Effect, Reply | None, str]:
        """The line with the quotes that a name of several words lacks; "" when there is no such object."""
        tokens = lex.lex(line, partial=True).tokens
        place, object_type = name_place(self.tree, self.modes, tokens)
        if place < 0 or len(tokens) < place + 2:
            return ""
        known = yield from self._names(object_type)
        for end in range(len(tokens), place + 1, -1):
            name = " ".join(token.text for token in tokens[place:end])
            if name in known:
                return f"{line[: tokens[place].start]}{lex.quote(name)}{line[tokens[end - 1].end :]}"
        return ""

    def _names(self, object_type: str) -> Generator[Effect, Reply | None, list[str]]:
        reply = yield from self._ask(Call("GET", f"/api/{object_type}", {"fields": "name", "page_size": "-1"}))
        return [one["name"] for one in reply.body["results"]]

    def _editing(self) -> Candidate:
        if self.candidate is None:
            raise TypeError("no object is open")
        return self.candidate

    def _do(self, op: Op, walk: Walk) -> Run:
        kind = op[0]
        if kind in EDITING:
            yield from _print(self._editing().apply(op))
        elif kind == "open":
            yield from self._open(op[1], op[2])
        elif kind in ("save", "cancel", "exit"):
            yield from self._leave(kind)
        elif kind == "where":
            yield from self._where(walk)
        elif kind == "delete":
            yield from self._delete(op[1], op[2])
        else:
            yield from self._show(op, walk)

    # --- editing

    def _open(self, name: str, key: str) -> Run:
        object_type = self.tree.schema.object(name)
        stored = yield from self._find(object_type, key)
        if stored is not None and not self.brief:
            table = render.object_table(object_type, stored)
            yield Print(f"Updating an existing object. Currently, the object is:\n{table}")
        self.candidate = Candidate.open(object_type, key, stored)

    def _leave(self, kind: str) -> Run:
        if self.candidate is None:
            if kind == "exit":
                yield Exit()
            else:
                yield Warn(f"nothing to {kind}: no object is being edited")
            return
        if len(self.candidate.frames) > 1:
            if kind != "cancel":
                yield from _print(self.candidate.settle())
            yield from _print(self.candidate.apply(("cancel",) if kind == "cancel" else ("save",)))
        elif kind == "cancel":
            self.candidate = None
        else:
            yield from self._commit(self.candidate)

    def _commit(self, candidate: Candidate) -> Run:
        object_type, body = candidate.type, candidate.body
        place = f"{object_type.word} {candidate.name}"
        if issues := missing(object_type, body, place):
            raise ValidationError(issues)
        method, path = "POST", f"/api/{object_type.name}"
        if candidate.stored is not None:
            method, path = "PUT", _address(object_type, candidate.stored)
        if self._rehearsal is not None:
            step = Step(object_type.name, body.get("name", candidate.name), method, path, body)
            yield from self._rehearse(self._rehearsal, step, place)
            self.candidate = None
            return
        reply = yield from self._ask(Call(method, path, body=body))
        self.candidate = None
        if not self.brief:
            yield Print(render.object_table(object_type, reply.body))
        yield from self._warn(reply)
        if reply.body.get("capture_status", {}).get("state") == "running":
            yield Stream(f"/api/{object_type.name}/{reply.body['uuid']}/capture", candidate.name)

    def _rehearse(self, rehearsal: Rehearsal, step: Step, place: str) -> Run:
        """Everything so far and this step as one transaction that is thrown away."""
        steps = [*rehearsal.steps, step]
        requests = {"requests": [one.request for one in steps]}
        reply = yield from self._ask(Call("POST", "/api/transaction", {"dryrun": "1"}, requests))
        rehearsal.steps = steps
        verb = {"POST": "create", "PUT": "change", "DELETE": "delete"}[step.method]
        lines = [f"would {verb} {place}"]
        for engine, kernel_steps in reply.body.get("kernel", {}).items():
            lines += rehearsal.fresh([f"  {engine}: {one}" for one in kernel_steps])
        yield Print("\n".join(lines))
        for text in rehearsal.fresh(list(reply.warnings)):
            yield Warn(text)

    def _where(self, walk: Walk) -> Run:
        text = f"Tenant: {self.tenant}"
        if self.candidate is not None:
            frame = self.candidate.frames[-1]
            text += "\n" + render.object_table(frame.message, frame.value)
        yield Print(text, _pipes(walk))

    def _delete(self, name: str, key: str) -> Run:
        object_type = self.tree.schema.object(name)
        body = yield from self._existing(object_type, key)
        path = _address(object_type, body)
        if self._rehearsal is not None:
            yield from self._rehearse(self._rehearsal, Step(name, key, "DELETE", path), f"{object_type.word} {key}")
            return
        yield from self._warn((yield from self._ask(Call("DELETE", path))))
        yield Print(f"Successfully deleted {key}.")

    # --- showing

    def _show(self, op: Op, walk: Walk) -> Run:
        kind = op[0]
        if kind == "run":
            yield from self._command(op[1], walk)
            return
        object_type = self.tree.schema.object(op[1])
        if kind == "show":
            if walk.node.end and walk.node.end[0][0] == "run":
                return  # the name was an argument of the command behind it
            body = yield from self._existing(object_type, op[2])
            yield from _answer(body, render.object_table(object_type, body), walk)
            return
        query = {"include_name": "", "join_subresources": "runtime", "page_size": "-1"}
        if object_type.joins:
            query["joins"] = ",".join(object_type.joins)
        reply = yield from self._ask(Call("GET", f"/api/{op[1]}", query))
        yield from _answer(reply.body, render.list_table(object_type, reply.body["results"]), walk)

    def _command(self, command: Command, walk: Walk) -> Run:
        path = f"/api/{command.api}"
        named = next((op for op in walk.ops if op[0] == "show"), None)
        if named is not None:
            body = yield from self._existing(self.tree.schema.object(named[1]), named[2])
            path = f"/api/{named[1]}/{body['uuid']}/{command.api}"
        reply = yield from self._ask(Call("GET", path))
        yield from _answer(reply.body, render.plain_table(reply.body), walk)
        yield from self._warn(reply)

    # --- asking

    def _find(self, object_type: ObjectType, name: str) -> Generator[Effect, Reply | None, Body | None]:
        """The object of that name, or None; in a dry run also one of the lines before."""
        step = self._rehearsal.find(object_type.name, name) if self._rehearsal else None
        if step is not None:
            return step.body
        reply = yield from self._ask(Call("GET", f"/api/{object_type.name}", {"name": name, "include_name": ""}))
        results = reply.body["results"]
        return results[0] if results else None

    def _existing(self, object_type: ObjectType, name: str) -> Generator[Effect, Reply | None, Body]:
        body = yield from self._find(object_type, name)
        if body is not None:
            return body
        others = [one for one in (yield from self._names(object_type.name)) if one != name]
        near = difflib.get_close_matches(name, others, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValidationError(f"there is no {object_type.word} named {name!r}{hint}", status=404)

    def _ask(self, call: Call) -> Asked:
        reply = yield call
        if reply is None:
            raise TypeError("a call is answered with a Reply")
        if reply.status >= 400:
            raise refusal(reply)
        return reply

    @staticmethod
    def _warn(reply: Reply) -> Run:
        for text in reply.warnings:
            yield Warn(text)


def _address(object_type: ObjectType, body: Body) -> str:
    """The path of an object; by name where a dry run has only just made it."""
    if "uuid" in body:
        return f"/api/{object_type.name}/{body['uuid']}"
    return f"/api/{object_type.name}?name={quote(str(body['name']))}"


def _print(lines: list[str]) -> Run:
    if lines:
        yield Print("\n".join(lines))


def _answer(body: Any, table: str, walk: Walk) -> Run:
    """What a show command found: one JSON document, or the table."""
    yield Document(body, walk.as_json, _pipes(walk))
    if not walk.as_json:
        yield Print(table, _pipes(walk))


def _pipes(walk: Walk) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(pipe) for pipe in walk.pipes)


def refusal(reply: Reply) -> AvishError:
    """The error that a REST answer stands for."""
    body: Body = reply.body if isinstance(reply.body, dict) else {"error": str(reply.body)}
    text = str(body.get("error", f"the controller answered {reply.status}"))
    kinds: dict[int, type[AvishError]] = {412: ConflictError, 422: ApplyError, 500: BugError, 503: UnavailableError}
    if reply.status in kinds:
        return kinds[reply.status](text)
    told = [one for one in body.get("issues", []) if one.get("severity") != "warning"]
    issues = [Issue(one.get("path", ""), one.get("text", "")) for one in told]
    return ValidationError(issues or text, status=reply.status)

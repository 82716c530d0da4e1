"""One shell session: a line in, effects out. Pure: ``run`` is a generator that is sent the replies to its calls."""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from avish.lang.typed import Typed
from avish.lang.walk import Walk, name_place, parse, secret_due
from avish.schema.model import Command, Message, ObjectType
from avish.schema.types import SENSITIVE
from avish.shell.candidate import Body, Candidate
from avish.shell.effects import Ask, Call, Confirm, Effect, Exit, FileEffect, Pipes, Print, Reply, Warn
from avish.shell.settings import Settings
from avish.shell.workspace import Workspace

Run = Generator[Effect, Reply | None, None]
Asked = Generator[Effect, Reply | None, Reply]
EDITING = frozenset({"set", "enter", "index", "range", "unset", "discard", "body"})
SHOWING = frozenset({"show", "list"})
ALL_TENANTS = "*"
TYPED = 10_000
"""Lines of a session that are remembered."""
GONE = 410
"""The controller has forgotten the candidate of a dry run."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command as it was typed: its words and values."""

    command: Command
    walk: Walk

    @property
    def args(self) -> dict[str, Any]:
        """The values of the path."""
        named = {op[1]: op[2] for op in self.walk.ops if op[0] == "show"}
        return {**named, **self.walk.given("arg")}

    @property
    def options(self) -> dict[str, Any]:
        """The words behind it."""
        return self.walk.given("option")

    @property
    def pipes(self) -> Pipes:
        """As effects take them."""
        return pipes_of(self.walk)


class Session:
    """The state of one shell: the tenant, the object being edited, changes that wait, and how things are shown."""

    def __init__(
        self,
        tree: Tree,
        host: str,
        *,
        tenant: str = "admin",
        dry_run: bool = False,
        interactive: bool = False,
        quiet: bool = False,
    ) -> None:
        self.tree = tree
        self.host = host.partition(".")[0] if not host[:1].isdigit() else host.replace(".", "-")
        self.tenant = tenant
        self.interactive = interactive
        """A person types: words may be abbreviated, and what destroys is asked for."""
        self.settings = Settings(quiet=quiet)
        self.candidate: Candidate | None = None
        self.workspace: Workspace | None = None
        """The changes of ``configure session``, while it is open."""
        self.rehearsal: Workspace | None = Workspace() if dry_run else None
        self.left: dict[str, Workspace] = {}
        """Sessions that were left with changes in them, by name."""
        self.history: Callable[[], Sequence[str]] = tuple
        """The lines typed before, from whoever keeps them."""
        self.began = tenant
        """The tenant at the beginning."""
        self.typed: deque[Typed] = deque(maxlen=TYPED)
        """The lines that were carried out, for ``history export``."""
        self._detail = False
        self._said = ""

    @property
    def modes(self) -> list[Message]:
        """The messages of the open modes."""
        return self.candidate.modes if self.candidate else []

    @property
    def mode(self) -> str:
        """The path of the open modes, "" at the top."""
        inside = ["session"] if self.workspace is not None else []
        return ":".join([*inside, *([self.candidate.path] if self.candidate else [])])

    @property
    def prompt(self) -> str:
        """``[admin:host]: pool:servers> ``."""
        return f"[{self.tenant}:{self.host}]: {self.mode}> "

    def unsaved(self) -> str:
        """What would be lost if the shell ended now, as a sentence; "" for nothing."""
        waiting = [w for w in [self.workspace, *self.left.values()] if w is not None and w.steps]
        said = [f"session {w.name} has {len(w.steps)} uncommitted changes" for w in waiting]
        if self.candidate is not None:
            said.insert(0, f"{self.candidate.type.word} {self.candidate.name} was not saved")
        return "; ".join(said)

    def run(self, line: str, block: str | None = None) -> Run:
        """Carry out one line (``block``: the lines it announced).

        Raises AvishError; what was saved before stays saved.
        """
        text = line.strip()
        if not text or text.startswith("#"):
            return
        frames = tuple(self.modes)
        yield from self._line(line, block)
        if self.typed and self.typed[-1].frames == frames:
            frames = self.typed[-1].frames  # the same tuple: there are thousands of lines
        self.typed.append(Typed(frames, self._said, block))

    def _line(self, line: str, block: str | None) -> Run:
        walk = yield from self._parsed(line.rstrip("\r\n"), block)
        if "file:" in line and block is None:
            from avish.shell import editing

            yield from editing.read_values(self, walk)
        self._detail = walk.api_detail or self.settings.api_details
        if walk.ops and walk.ops[0] == ("watch",):
            from avish.shell.watch import watch

            yield from watch(self, walk)
            return
        ops = iter(walk.ops)
        for op in ops:
            if op[0] == "remove":
                yield from printed(self.editing().remove(op[1], list(ops)))
            else:
                yield from self.do(op, walk)
        if self.candidate:
            yield from printed(self.candidate.settle())

    def _parsed(self, line: str, block: str | None) -> Generator[Effect, Reply | None, Walk]:
        """The walk of a line.

        A secret that is missing at its end is asked for; an existing object's name with blanks needs no quotes.
        """
        self._said = line
        if self.interactive and block is None and (field := secret_due(self.tree, self.modes, line)):
            block = (yield from self.ask_user(Ask(f"{field}: ", hidden=True))).body
            self._said = f"{line} {SENSITIVE}"
            line = f"{line} --"
        try:
            return parse(self.tree, self.modes, line, abbreviate=self.interactive, block=block)
        except ParseError as error:
            quoted = yield from self._quoted(line)
            if not quoted:
                raise error from None
        self._said = quoted
        return parse(self.tree, self.modes, quoted, abbreviate=self.interactive, block=block)

    def _quoted(self, line: str) -> Generator[Effect, Reply | None, str]:
        """The line with the quotes that a name of several words lacks; "" when there is no such object."""
        try:
            tokens = lex.lex(line, partial=True).tokens
        except ParseError:
            return ""
        place, object_type = name_place(self.tree, self.modes, tokens)
        if place < 0 or len(tokens) < place + 2:
            return ""
        known = yield from self.names(object_type)
        for end in range(len(tokens), place + 1, -1):
            name = " ".join(token.text for token in tokens[place:end])
            if name in known:
                return f"{line[: tokens[place].start]}{lex.quote(name)}{line[tokens[end - 1].end :]}"
        return ""

    def names(self, object_type: str) -> Generator[Effect, Reply | None, list[str]]:
        """The names of all objects of a type, those that wait included."""
        query = {"fields": "name", "page_size": "-1", **self.place()}
        reply = yield from self.ask(Call("GET", f"/api/{object_type}", query))
        names = [one["name"] for one in reply.body["results"] if "name" in one]
        if self.workspace is None:
            return names
        more, gone = self.workspace.names(object_type)
        return [name for name in dict.fromkeys([*names, *more]) if name not in gone]

    def drop_refused(self) -> str:
        """Close the mode that could not be saved, so that what follows finds the mode it expects; what that drops."""
        candidate = self.candidate
        if candidate is None:
            return ""
        path = self.mode
        if not candidate.drop_refused():
            return ""
        if not candidate.frames:
            self.candidate = None
            return f"nothing of {candidate.type.word} {candidate.name} was saved"
        return f"nothing of {path} was taken"

    def editing(self) -> Candidate:
        """The object that is open."""
        if self.candidate is None:
            raise TypeError("no object is open")
        return self.candidate

    def do(self, op: Op, walk: Walk) -> Run:
        """Carry out one operation."""
        kind = op[0]
        if kind in EDITING:
            yield from printed(self.editing().apply(op))
        elif kind in SHOWING:
            from avish.shell import showing

            yield from showing.show(self, op, walk)
        elif kind == "run":
            yield from self.order(Order(op[1], walk))
        elif kind not in ("arg", "option", "filter"):
            from avish.shell import editing

            yield from editing.edit(self, op, walk)

    def order(self, order: Order) -> Run:
        """Carry out a command of the grammar."""
        command = order.command
        if command.refused:
            raise ValidationError(command.refused)
        if command.asks and not (yield from self.sure(command.asks.format(**order.args))):
            return
        if not command.does:
            from avish.shell import showing

            yield from showing.run(self, order)
            return
        module, _, name = command.does.rpartition(".")
        yield from getattr(importlib.import_module(f"avish.shell.verbs.{module}"), name)(self, order)

    # --- asking

    def find(self, object_type: ObjectType, name: str) -> Generator[Effect, Reply | None, Body | None]:
        """The object of that name, or None; what waits counts as done."""
        if self.workspace is not None:
            step = self.workspace.find(object_type.name, name)
            if step is not None:
                return step.body
        query = {"include_name": "", **self.place()}
        if object_type.singleton:
            body: Body = (yield from self.ask(Call("GET", f"/api/{object_type.name}", query))).body
            return body
        reply = yield from self.ask(Call("GET", f"/api/{object_type.name}", {"name": name, **query}))
        results = reply.body["results"]
        return results[0] if results else None

    def place(self) -> dict[str, str]:
        """The query of reads that see the candidate of a dry run."""
        return {"after": self.rehearsal.token} if self.rehearsal is not None and self.rehearsal.token else {}

    def existing(self, object_type: ObjectType, name: str) -> Generator[Effect, Reply | None, Body]:
        """The object of that name; ValidationError with the nearest name when there is none."""
        body = yield from self.find(object_type, name)
        if body is not None:
            return body
        import difflib  # start-up pays for every import

        others = [one for one in (yield from self.names(object_type.name)) if one != name]
        near = difflib.get_close_matches(name, others, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValidationError(f"there is no {object_type.word} named {name!r}{hint}", status=404)

    def again(self, object_type: ObjectType, read: Body) -> Generator[Effect, Reply | None, Body]:
        """An object that was read as it is stored now, whatever its name is; ValidationError (404) when it is gone."""
        query = {"include_name": "", **self.place()}
        body: Body = (yield from self.ask(Call("GET", address(object_type, read), query))).body
        return body

    def ask(self, call: Call) -> Asked:
        """The reply to a REST call; AvishError when it is refused."""
        if self._detail:
            from avish.api.client import target

            yield Print(f"REST API Request\nAPI: {target(call.path, call.query)} ({call.method})")
        reply = yield call
        if reply is not None and reply.status == GONE and self.rehearsal is not None:
            from avish.shell.rehearsal import repeat

            yield from repeat(self.rehearsal)
            reply = yield call._replace(query={**call.query, **self.place()})
        if reply is None:
            raise TypeError("a call is answered with a Reply")
        if reply.status >= 400:
            raise refusal(reply)
        return reply

    @staticmethod
    def ask_user(effect: Ask | Confirm | FileEffect) -> Asked:
        """The reply of the user."""
        reply = yield effect
        if reply is None:
            raise TypeError("a question is answered with a Reply")
        return reply

    def sure(self, question: str) -> Generator[Effect, Reply | None, bool]:
        """Whether the user wants it; a script is not asked."""
        if not self.interactive:
            return True
        return bool((yield from self.ask_user(Confirm(question))).body)

    @staticmethod
    def warn(reply: Reply) -> Run:
        """What came beside an answer."""
        for text in reply.warnings:
            yield Warn(text)

    def leave(self) -> Run:
        """End the shell; unsaved changes are asked for."""
        unsaved = self.unsaved()
        if unsaved and not (yield from self.sure(f"{unsaved}; leave all the same?")):
            return
        yield Exit()


def address(object_type: ObjectType, body: Body) -> str:
    """The path of an object in the REST API."""
    if object_type.singleton:
        return f"/api/{object_type.name}"
    if "uuid" in body:
        return f"/api/{object_type.name}/{body['uuid']}"
    from urllib.parse import quote  # one that only waits has no uuid yet

    return f"/api/{object_type.name}?name={quote(str(body['name']))}"


def printed(lines: list[str]) -> Iterator[Effect]:
    """Lines as an effect, if there are any."""
    if lines:
        yield Print("\n".join(lines))


def pipes_of(walk: Walk) -> Pipes:
    """The pipes of a line as effects take them."""
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

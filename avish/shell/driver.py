"""Carries out what a session asks for: calls, text, streams. Shared by the batch and the terminal front."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from avish.api.client import Answer, Client
from avish.api.reach import Reach
from avish.errors import AvishError
from avish.shell.effects import (
    Ask,
    Call,
    Confirm,
    Document,
    Effect,
    Exit,
    Fetch,
    FileEffect,
    Frame,
    Live,
    Pause,
    Pipes,
    Print,
    Reply,
    Rows,
    Spawn,
    Stream,
    Warn,
    WriteFile,
)
from avish.shell.session import Run, Session
from avish.shell.streams import Streams


class TracedClient(Client):
    """A client that writes down each call: method, path, status, milliseconds."""

    def __init__(self, where: Path | Reach, files: list[IO[str]]) -> None:
        super().__init__(where)
        self._files = files

    def _call(self, method: str, where: str, more: Mapping[str, str], body: Any, comment: str) -> Answer:
        began = time.perf_counter()
        answer = super()._call(method, where, more, body, comment)
        took = (time.perf_counter() - began) * 1000
        for file in self._files:
            print(f"{method} {where} {answer.status} {took:.1f} ms", file=file, flush=True)
        return answer


class Screen(Protocol):
    """A front: ``out`` is the answer, ``err`` what stands beside it, ``page`` a long one: False when it was enough."""

    def out(self, text: str) -> None: ...
    def err(self, text: str) -> None: ...
    def page(self, text: str) -> bool | None: ...
    def ask(self, text: str, *, hidden: bool) -> str: ...
    def confirm(self, text: str) -> bool: ...
    def frame(self, text: str, title: str) -> None: ...
    def pause(self, seconds: float) -> bool: ...
    def spawn(self, argv: tuple[str, ...]) -> int: ...


class Driver:
    """Runs lines of a session. ``leaving`` turns True when the session is over."""

    def __init__(self, session: Session, client: Client, screen: Screen, streams: Streams, *, as_json: bool) -> None:
        self.session = session
        self.client = client
        self.screen = screen
        self.streams = streams
        self.as_json = as_json
        self.leaving = False
        self.broken = False
        """The last line was interrupted while the controller was at work."""
        self._live: Any = None

    def run(self, line: str, block: str | None = None) -> None:
        """One line, with the block it announced, to its end. Raises AvishError."""
        self.broken = False
        self._carry_out(self.session.run(line, block))

    def sum_up(self) -> None:
        """The end of a dry run. Raises AvishError."""
        if self.session.rehearsal is not None:
            from avish.shell.rehearsal import summary

            self._carry_out(summary(self.session))

    def _carry_out(self, steps: Run) -> None:
        try:
            self._steps(steps)
        finally:
            if self._live is not None:
                self._live.close()
                self._live = None

    def _steps(self, steps: Run) -> None:
        reply: Reply | None = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return
            try:
                reply = self._answer(effect)
            except (AvishError, KeyboardInterrupt) as error:
                steps.throw(error)

    def _answer(self, effect: Effect) -> Reply | None:
        if isinstance(effect, Call):
            return self._called(effect)
        if isinstance(effect, Live):
            return self._lively(effect)
        if isinstance(effect, (Ask, Confirm, Pause, Spawn)):
            return Reply(200, self._asked(effect))
        if isinstance(effect, FileEffect | Fetch):
            return Reply(200, self._filed(effect))
        return self._show(effect)

    def _lively(self, effect: Live) -> Reply:
        from avish.shell.live import NO_KEYBOARD, LiveScreen

        if not sys.stdin.isatty():  # also that of a process that serves many sessions
            self.screen.out(effect.text)
            return Reply(200, NO_KEYBOARD)
        self._live = self._live or LiveScreen()
        return Reply(200, self._live.show(effect.text, effect.seconds))

    def _filed(self, effect: FileEffect | Fetch) -> str:
        """Start-up does not pay for files."""
        dry = self.session.rehearsal is not None
        if isinstance(effect, Fetch):
            from avish.shell.fetch import fetch

            return fetch(self.client.twin(), effect, self.screen)
        from avish.shell import files

        return files.handle(effect, dry=dry)

    def _called(self, call: Call) -> Reply:
        self.client.work_in(call.tenant or self.session.tenant)
        try:
            answer = self.client.call(call.method, call.path, call.query, call.body, comment=call.comment)
        except KeyboardInterrupt:
            self.client.close()  # else the answer would be taken for that of the next call
            self.broken = call.method != "GET"
            raise
        return Reply(answer.status, answer.body, answer.warnings)

    def _asked(self, effect: Ask | Confirm | Pause | Spawn) -> Any:
        if isinstance(effect, Ask):
            return self.screen.ask(effect.text, hidden=effect.hidden)
        if isinstance(effect, Confirm):
            return self.screen.confirm(effect.text)
        return self.screen.pause(effect.seconds) if isinstance(effect, Pause) else self.screen.spawn(effect.argv)

    def _show(self, effect: Document | Print | Rows | Warn | Frame | Stream | Exit) -> Reply | None:
        """False in a Reply: the user has seen enough of this."""
        if isinstance(effect, Document):
            if self.as_json or effect.form:
                return self._out(document(effect.value, effect.form), effect.pipes, page=not self.as_json)
        elif isinstance(effect, Print):
            if not self.as_json:
                return self._out(effect.text, effect.pipes, page=effect.page)
        elif isinstance(effect, Rows):
            return self._rows(effect)
        elif isinstance(effect, Warn):
            self.screen.err(f"warning: {effect.text}")
        elif isinstance(effect, Frame):
            self._frame(effect)
        elif isinstance(effect, Stream):
            self._stream(effect)
        else:
            self.leaving = True
        return None

    def _stream(self, effect: Stream) -> None:
        if effect.follow:
            self.streams.follow(effect._replace(raw=effect.raw or self.as_json), self.screen.out)
        else:
            self.streams.start(effect)

    def _rows(self, page: Rows) -> Reply | None:
        from avish.shell import listing

        if self.as_json:
            return self._out(listing.json_text(page), (), page=False)
        return self._out(listing.table(page), (), page=True)

    def _out(self, text: str, pipes: Pipes, *, page: bool) -> Reply | None:
        if pipes:
            from avish.shell.pipes import piped  # start-up does not pay for a pipe

            text, page = piped(text, pipes), pipes[-1][0] == "more"
            if pipes[-1][0] == "save":
                self._save(pipes[-1][1], text)
                return None
        if text and page:
            return Reply(200, self.screen.page(text) is not False)
        if text:
            self.screen.out(text)
        return None

    def _save(self, path: str, text: str) -> None:
        """Into a file; where JSON is wanted nothing else reaches standard output."""
        from avish.shell import files

        dry = self.session.rehearsal is not None
        written = files.handle(WriteFile(path, text + "\n" if text else ""), dry=dry)
        done = "would write" if dry else "Wrote"
        told = f"{done} {len(text.split(chr(10))) if text else 0} lines to {written}"
        (self.screen.err if self.as_json else self.screen.out)(told)

    def _frame(self, effect: Frame) -> None:
        if not self.as_json:
            from avish.shell.pipes import piped

            self.screen.frame(piped(effect.text, effect.pipes), effect.title)


def document(value: Any, form: str) -> str:
    """A REST body as JSON, or as YAML where ``form`` says so."""
    if form == "yaml":
        import yaml  # start-up does not pay for it

        return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)).rstrip("\n")
    return json.dumps(value, indent=2, ensure_ascii=False)

"""The front for people: prompt_toolkit, TAB and ``?``, captures above the prompt."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from prompt_toolkit import PromptSession, prompt
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from avish.api.client import Client
from avish.errors import AvishError, ParseError
from avish.lang.complete import Suggestion, complete
from avish.lang.lex import lex
from avish.lang.tree import Tree
from avish.shell.bulletin import Bulletin
from avish.shell.driver import Driver, Streams, event_line
from avish.shell.explain import bug, explain
from avish.shell.session import Session

LISTED = 300
"""Suggestions that are listed at once."""
STREAM_WAIT = 5.0
"""Seconds a capture's line waits for the terminal before it is written past the prompt."""


class Names:
    """The names of live objects, for completion; asked for again only when the configuration has changed."""

    def __init__(self, client: Client) -> None:
        self._client = Client(client.home)
        self._known: dict[str, tuple[str, list[str]]] = {}

    def __call__(self, object_type: str) -> Sequence[str]:
        """Sorted names; what was known last when the controller is away."""
        etag, names = self._known.get(object_type, ("", []))
        try:
            answer = self._client.call("GET", f"/api/{object_type}", {"fields": "name", "page_size": "-1"}, etag=etag)
        except AvishError:
            return names
        if answer.status == 200:
            names = sorted(str(one.get("name", "")) for one in answer.body["results"])
            self._known[object_type] = (answer.etag, names)
        return names


class Terminal:
    """One interactive session. It is the Screen of its driver."""

    def __init__(self, tree: Tree, session: Session, client: Client) -> None:
        self.tree, self.session, self.client = tree, session, client
        self.names = Names(client)
        self.prompt: PromptSession[str] = PromptSession(key_bindings=self._keys(), complete_while_typing=False)
        self.driver = Driver(session, client, self, Streams(client, self.event), as_json=False)
        self.bulletin = Bulletin(client, lambda: session.settings.timezone, self.above, self.prompt.app.invalidate)

    def page(self, text: str) -> None:
        """A long answer."""
        self.out(text)

    def ask(self, text: str, *, hidden: bool) -> str:
        """What the user types."""
        return prompt(text, is_password=hidden)

    def confirm(self, text: str) -> bool:
        """Whether the user wants it."""
        return prompt(f"{text} [y/N] ").strip().lower() in {"y", "yes"}

    def frame(self, text: str, title: str) -> None:
        """One of the pictures of a watch."""
        self.out(f"{title}\n{text}")

    def pause(self, seconds: float) -> bool:
        """Wait; False when the user has had enough."""
        try:
            threading.Event().wait(seconds)
        except KeyboardInterrupt:
            return False
        return True

    def spawn(self, argv: tuple[str, ...]) -> int:
        """Run a program on the terminal."""
        return subprocess.run(argv, check=False).returncode

    def out(self, text: str) -> None:
        """An answer."""
        sys.stdout.write(text + "\n")  # in one piece: a capture writes from another thread
        sys.stdout.flush()

    def err(self, text: str) -> None:
        """Something beside it."""
        print(text, file=sys.stderr, flush=True)

    def event(self, event: dict[str, Any], title: str) -> None:
        """A capture's event, above the prompt.

        Waits for the terminal, so that a slow one loses lines at the controller, where they are counted.
        """
        if text := event_line(event, title):
            self.above(text)

    def above(self, text: str) -> None:
        """A line above the prompt, from another thread."""
        app = self.prompt.app
        if app.loop is None or not app.is_running:
            self.out(text)
            return
        waiting = asyncio.run_coroutine_threadsafe(self._above(text), app.loop)
        try:
            waiting.result(STREAM_WAIT)
        except TimeoutError:
            waiting.cancel()
            self.out(text)

    async def _above(self, text: str) -> None:
        await run_in_terminal(lambda: self.out(text))

    def run(self) -> int:
        """Read and carry out lines until the user leaves; the exit status."""
        self.bulletin.start()
        try:
            return self._read()
        finally:
            self.bulletin.stop()

    def _read(self) -> int:
        while not self.driver.leaving:
            try:
                text = self.prompt.prompt(self.session.prompt, rprompt=self.bulletin.countdown)
            except KeyboardInterrupt:
                continue
            except EOFError:
                self._goodbye()
                return 0
            self._lines(text)
        return 0

    def _lines(self, text: str) -> None:
        """One typed line, or a paste of many: the first error stops the rest."""
        lines = text.split("\n")  # and at nothing else: a control character is for the lexer to refuse
        for number, line in enumerate(lines, 1):
            try:
                self.driver.run(line)
            except AvishError as error:
                self.err(explain(error, f"line {number} of {len(lines)}" if len(lines) > 1 else ""))
                return
            except KeyboardInterrupt:
                self.err("interrupted; what the controller had been asked to do goes on")
                return
            except Exception as error:  # noqa: BLE001  (a bug: told with a reference, and the shell lives on)
                self.err(bug(error, self.client.home))
                return

    def _goodbye(self) -> None:
        if self.session.candidate is not None:
            candidate = self.session.candidate
            self.err(f"{candidate.type.word} {candidate.name} was not saved; its changes are dropped")

    # --- help and completion

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add("tab")(self._tab)
        keys.add("?")(self._question)
        return keys

    def _tab(self, event: KeyPressEvent) -> None:
        before = event.current_buffer.document.text_before_cursor
        found = complete(self.tree, self.session.modes, before, self.names)
        words = [one for one in found if one.literal]
        if not words:
            self._list(found)
            return
        typed = before[words[0].start :]
        common = os.path.commonprefix([one.text for one in words])  # noqa: RUF071  (letters are what is meant)
        only = len(words) == 1 and (typed or len(found) == 1)
        if only:
            event.current_buffer.insert_text(_rest(typed, words[0].text) + " ")
        elif len(common) > len(typed) and typed:
            event.current_buffer.insert_text(_rest(typed, common))
        else:
            self._list(found)

    def _question(self, event: KeyPressEvent) -> None:
        before = event.current_buffer.document.text_before_cursor
        if _in_quotes(before):
            event.current_buffer.insert_text("?")
            return
        self._list(complete(self.tree, self.session.modes, before, self.names))

    def _list(self, found: Sequence[Suggestion]) -> None:
        typed = self.session.prompt + self.prompt.default_buffer.text
        text = listing(found) or "nothing is possible here: the line is already wrong or complete"
        run_in_terminal(lambda: print(f"{typed}\n{text}", flush=True))


def _in_quotes(before: str) -> bool:
    try:
        return bool(lex(before, partial=True).open_quote)
    except ParseError:
        return False


def _rest(typed: str, word: str) -> str:
    """What is still to be inserted; a name that needs quotes is put between them whole."""
    return word[len(typed) :] if word.startswith(typed) else word.removeprefix('"')[len(typed) :]


def listing(found: Sequence[Suggestion]) -> str:
    """Words left, help right; of very many only the first, for nobody reads a thousand."""
    shown = found[:LISTED]
    width = min(40, max((len(one.text) for one in shown), default=0))
    lines = [f"  {one.text.ljust(width)}  {one.help}".rstrip() for one in shown]
    if len(found) > len(shown):
        lines.append(f"  ... and {len(found) - len(shown)} more: type the first letters")
    return "\n".join(lines)

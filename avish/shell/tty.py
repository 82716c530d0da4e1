"""The front for people: a line editor with help, colours and history; pastes, pages, pictures, and news between."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyPressEvent
from prompt_toolkit.lexers import DynamicLexer
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from avish.api.client import Client
from avish.errors import AvishError, ParseError
from avish.lang import secrets
from avish.lang.blocks import Block, wanted
from avish.lang.complete import complete
from avish.lang.tree import Tree
from avish.lang.walk import secret_due
from avish.shell import colour, picture
from avish.shell.bulletin import Bulletin
from avish.shell.driver import Driver
from avish.shell.explain import bug, explain
from avish.shell.history import LineHistory, history_file
from avish.shell.idle import Idle, IdleError
from avish.shell.keyboard import Keyboard
from avish.shell.keys import bindings
from avish.shell.lexer import BlockLexer, LineLexer
from avish.shell.names import Names
from avish.shell.narrow import cut, fitted
from avish.shell.pager import Pager
from avish.shell.rights import Rights
from avish.shell.session import Session
from avish.shell.streams import Streams, event_line, pausing
from avish.shell.suggest import FromHistory

STREAM_WAIT = 5.0
"""Seconds a line from elsewhere waits for the terminal before it is written past the prompt."""
ALTERNATE, NORMAL, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H\x1b[J"


class Terminal:
    """One interactive session. It is the Screen of its driver."""

    def __init__(self, tree: Tree, session: Session, client: Client, *, colours: bool = True) -> None:
        self.tree, self.session, self.client = tree, session, client
        self.colours = colour.wanted(colours)
        self.names = Names(client)
        self.rights = Rights(client, tree.schema)
        self.keyboard = Keyboard()
        self.lexer = LineLexer(tree, lambda: session.modes)
        self.pager = Pager(self._write, _size, self.keyboard)
        self.idle = Idle(lambda: session.settings.session_timeout)
        self.pasted: deque[str] = deque()
        """Lines of a paste that are still to be carried out."""
        self.unfinished = ""
        """What a paste has behind its last line."""
        self._picture: str | None = None
        self.streams = Streams(client, self.event)
        self.prompt = self._prompt_session()
        self.beside: PromptSession[str] = PromptSession(output=self.prompt.output, color_depth=self.prompt.color_depth)
        """For answers and values: no help, no history."""
        self.driver = Driver(session, client, self, self.streams, as_json=False)
        self.bulletin = Bulletin(client, lambda: session.settings.timezone, self._tell, self.prompt.app.invalidate)

    def _prompt_session(self) -> PromptSession[str]:
        history = LineHistory(history_file(getpass.getuser()), self._clean)
        self.session.history = history.get_strings
        found: PromptSession[str] = PromptSession(
            key_bindings=bindings(self._offers, self._shown, self._paste),
            lexer=self.lexer,
            style=Style.from_dict(colour.STYLE),
            history=history,
            auto_suggest=FromHistory(),
            complete_while_typing=False,
            color_depth=None if self.colours else ColorDepth.MONOCHROME,
            output=_output(),
        )
        pausing(found, self.streams)
        found.app.key_processor.before_key_press += lambda _: self.idle.touch()
        return found

    # --- the screen of the driver

    def out(self, text: str) -> None:
        """An answer."""
        self._write((colour.painted(text) if self.colours else text) + "\n")

    def err(self, text: str) -> None:
        """Something beside it."""
        print(colour.warning(text) if self.colours else text, file=sys.stderr, flush=True)

    def page(self, text: str) -> bool:
        """A long answer, its tables as wide as the terminal; False when the user has seen enough of it."""
        text = fitted(text, _size()[0])
        return self.pager.show(colour.painted(text) if self.colours else text, self.session.settings.length)

    def ask(self, text: str, *, hidden: bool) -> str:
        """What the user types. KeyboardInterrupt when he does not want to."""
        try:
            return self._answer(text, hidden=hidden)
        except EOFError:
            raise KeyboardInterrupt from None

    def _answer(
        self, text: str, *, hidden: bool = False, default: str = "", before: Sequence[str] | None = None
    ) -> str:
        """Every option each time: the line editor remembers those of the time before. ``before``: it is in a block."""
        lexer = DynamicLexer(lambda: None if before is None else BlockLexer(before))
        return self.beside.prompt(text, is_password=hidden, default=default, lexer=lexer)

    def confirm(self, text: str) -> bool:
        """Whether the user wants it."""
        try:
            return _is_yes(self._answer(f"{text} [y/N] "))
        except EOFError:
            return False

    def frame(self, text: str, title: str) -> None:
        """One of the pictures of a watch, in place of the one before."""
        columns, lines = _size()
        body = text if self._picture is None else picture.marked(self._picture, text, colour=self.colours)
        head = f"{title}   {time.strftime('%H:%M:%S')}"
        start = HOME if self._picture is not None else ALTERNATE + HOME
        self._write(f"{start}{head[:columns]}\n\n{picture.fitted(body, columns, max(3, lines - 3))}")
        self._picture = text

    def _end_of_pictures(self) -> None:
        """Back from a watch; its last picture stays."""
        if self._picture is not None:
            self._write(NORMAL)
            self.out(self._picture)
            self._picture = None

    def pause(self, seconds: float) -> bool:
        """Wait; False when the user has had enough."""
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                if self.keyboard.key(left) in ("q", "\x04"):
                    return False
        except KeyboardInterrupt:
            return False
        return True

    def spawn(self, argv: tuple[str, ...]) -> int:
        """Run a program on the terminal."""
        with self.keyboard.plain():
            return subprocess.run(argv, check=False).returncode

    def event(self, event: dict[str, Any], title: str) -> None:
        """A capture's event, above the prompt.

        Waits for the terminal, so that a slow one loses lines at the controller, where they are counted.
        """
        self.prompt.app.invalidate()
        if event.get("event") != "status" and (text := event_line(event, title)):
            self.idle.touch()
            if event.get("event") == "packet":
                text = cut(text, _size()[0])
            self._above(colour.flow(text, event["flow"]) if self.colours and "flow" in event else text)

    def _tell(self, text: str) -> None:
        """What nobody here asked for."""
        self._above(colour.warning(text) if self.colours else text)

    def _above(self, text: str) -> None:
        """Write a line above the prompt, from any thread."""
        app = self.prompt.app
        if app.loop is None or not app.is_running:
            self._write(f"{text}\n")
            return

        async def write() -> None:
            await run_in_terminal(lambda: self._write(f"{text}\n"))

        waiting = asyncio.run_coroutine_threadsafe(write(), app.loop)
        try:
            waiting.result(STREAM_WAIT)
        except TimeoutError:
            waiting.cancel()
            self._write(f"{text}\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)  # in one piece: others write from their threads
        sys.stdout.flush()

    # --- lines

    def run(self) -> int:
        """Read and carry out lines until the user leaves; the exit status."""
        self.bulletin.start()
        try:
            with self.keyboard.quiet():
                while not self.driver.leaving and self._turn():
                    pass
        finally:
            self.bulletin.stop()
        return 0

    def _turn(self) -> bool:
        """One line, or the lines of one paste. False when the shell ends without having been told to."""
        try:
            text = self._typed()
        except KeyboardInterrupt:
            return True
        except EOFError:
            return not self._goodbye()
        except IdleError as error:
            self.err(f"{error}; the shell ends")
            self._drop()
            return False
        self._lines(text)
        return True

    def _typed(self) -> str:
        default, self.unfinished, self.pager.ahead = self.pager.ahead + self.unfinished, "", ""
        return self.prompt.prompt(self._message, default=default, rprompt=self._countdown, pre_run=self._at_the_prompt)

    def _at_the_prompt(self) -> None:
        self.prompt.app.create_background_task(self._tick())

    async def _tick(self) -> None:
        """While the prompt waits: a session that nobody uses ends."""
        while True:
            await asyncio.sleep(1)
            try:
                await self.idle.check(lambda text: run_in_terminal(lambda: self.err(text)))
            except IdleError as error:
                self.prompt.app.exit(exception=error)
                return

    def _message(self) -> StyleAndTextTuples:
        """The prompt, and above it what is to be said of captures: a line that is drawn again each second."""
        status = self.streams.status_line()[: _size()[0] - 1]
        return [*([("class:status", status), ("", "\n")] if status else []), ("", self.session.prompt)]

    def _countdown(self) -> StyleAndTextTuples:
        return [("class:notice", self.bulletin.countdown())]

    def _lines(self, first: str) -> None:
        """A line and those that were pasted behind it: the first error stops the rest."""
        count = len(self.pasted) + 1
        line = first
        while True:
            number = count - len(self.pasted)
            if not self._carried_out(line, f"line {number} of {count}" if count > 1 else ""):
                self._drop_paste()
                return
            if not self.pasted or self.driver.leaving:
                return
            line = self._next_pasted()

    def _next_pasted(self) -> str:
        line = self.pasted.popleft()
        self.prompt.history.append_string(line)
        self._write(f"{self.session.prompt}{self.lexer.hidden(line)}\n")
        return line

    def _drop_paste(self) -> None:
        if self.pasted or self.unfinished.strip():
            left = len(self.pasted) + bool(self.unfinished.strip())
            self.err(f"the paste ends here: the {left} lines behind were not carried out")
        self.pasted.clear()
        self.unfinished = ""

    def _carried_out(self, line: str, where: str) -> bool:
        try:
            self.driver.run(line, self._block(line))
        except AvishError as error:
            self._refused(explain(error, where))
        except KeyboardInterrupt:
            self._end_of_pictures()
            self.err(f"interrupted{'; what the controller had been asked to do goes on' if self.driver.broken else ''}")
        except Exception as error:  # noqa: BLE001  (a bug: told with a reference, and the shell lives on)
            self._refused(bug(error, self.client.home))
        else:
            self._end_of_pictures()
            self.idle.touch()
            return True
        self.idle.touch()
        return False

    def _refused(self, text: str) -> None:
        self._end_of_pictures()
        print(colour.error(text) if self.colours else text, file=sys.stderr, flush=True)

    def _block(self, line: str) -> str | None:
        """The lines that ``line`` announces, pasted or typed; None when it announces none."""
        announced = wanted(line)
        if announced is None:
            return None
        hidden = bool(announced.field and secret_due(self.tree, self.session.modes, line[: announced.start]))
        if announced.field and not self.pasted:
            self._write(
                f"Please input the value for field {announced.field} (Enter {announced.end} to terminate input):\n"
            )
        return "\n".join(self._block_lines(announced, hidden=hidden))

    def _block_lines(self, announced: Block, *, hidden: bool) -> list[str]:
        found: list[str] = []
        while True:
            text = self.pasted.popleft() if self.pasted else self._typed_in_block(found, hidden=hidden)
            for line in text.split("\n"):
                if line.strip() == announced.end:
                    return found
                found.append(line)

    def _typed_in_block(self, before: Sequence[str], *, hidden: bool) -> str:
        default, self.unfinished = self.unfinished, ""
        try:
            return self._answer("> ", hidden=hidden, default=default, before=before)
        except EOFError:
            raise ParseError("the value was not taken: its last line is missing") from None

    def _goodbye(self) -> bool:
        """Ctrl-D: whether the shell ends. A second one means it."""
        unsaved = self.session.unsaved()
        try:
            if unsaved and not _is_yes(self._answer(f"{unsaved}; leave all the same? [y/N] ")):
                return False
        except KeyboardInterrupt:
            return False
        except EOFError:
            pass
        self._drop()
        return True

    def _drop(self) -> None:
        if unsaved := self.session.unsaved():
            self.err(f"{unsaved}; it is dropped")

    # --- what the keys need

    def _offers(self, before: str) -> Any:
        found = complete(self.tree, self.session.modes, before, self.names)
        return found if self.session.candidate else self.rights.permitted(before, found, self.session.tenant)

    def _shown(self) -> str:
        return self.session.prompt + self.lexer.hidden(self.prompt.default_buffer.text)

    def _clean(self, line: str) -> str:
        return secrets.without(self.tree, self.session.modes, line)

    def _paste(self, event: KeyPressEvent, text: str) -> None:
        """Several lines at once: those that are complete are carried out, the rest is left on the line."""
        buffer = event.current_buffer
        whole = buffer.document.text_before_cursor + text + buffer.document.text_after_cursor
        first, *lines = whole.split("\n")
        self.unfinished = lines.pop()
        self.pasted.extend(lines)
        buffer.text = first
        buffer.cursor_position = len(first)
        buffer.validate_and_handle()


def _is_yes(text: str) -> bool:
    return text.strip().lower() in {"y", "yes"}


def _output() -> Vt100_Output:
    """The terminal, which is not asked where its cursor is: not all answer, and nothing here needs to know."""
    output = Vt100_Output.from_pty(sys.stdout)
    output.enable_cpr = False
    return output


def _size() -> tuple[int, int]:
    """Columns and lines of the terminal as it is now."""
    return shutil.get_terminal_size()

"""The front for machines that speak through a terminal: exact echo, one prompt a command, no escapes, no paging."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from avish.api.client import Client
from avish.errors import AvishError, ParseError
from avish.lang.blocks import wanted
from avish.lang.complete import Suggestion, complete
from avish.lang.lex import lex
from avish.lang.tree import Tree
from avish.shell.driver import Driver
from avish.shell.explain import bug, explain
from avish.shell.lineeditor import Interrupted, LineEditor
from avish.shell.rights import Rights
from avish.shell.session import Session
from avish.shell.streams import Streams, event_line

Send = Callable[[str], None]
"""Takes text to the other side; blocks while that is slow. BrokenPipeError when nobody is there any more."""
Names = Callable[[str], Sequence[str]]
CONTROL = dict.fromkeys(range(32)) | {9: 9, 10: 10, 127: None}
"""What of an answer a terminal would act on is left out."""
MARK = "error"
"""What every refusal begins with here, and no answer: a machine looks for it."""
END = b""


class Plain:
    """One session. ``feed`` may be called from any thread; ``run`` works in its own. It is the Screen of its driver."""

    def __init__(self, tree: Tree, session: Session, client: Client, send: Send, names: Names) -> None:
        self.tree, self.session, self.client = tree, session, client
        self.driver = Driver(session, client, self, Streams(client, self.event), as_json=False)
        self._send, self._names = send, names
        self._rights = Rights(client, tree.schema)
        self._incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""
        self._ended = False
        self._interrupt = threading.Event()
        self._pending: list[str] = []
        self._writing = threading.Lock()
        self._editor = LineEditor(self._later, self._question)
        self.status = 0
        """That of the first error."""

    # --- from the other side

    def feed(self, data: bytes) -> None:
        """What was typed; Ctrl-C takes effect at once."""
        if b"\x03" in data:
            self._interrupt.set()
        self._incoming.put(data)

    def hang_up(self) -> None:
        """Nothing more comes."""
        self._incoming.put(END)

    # --- to the other side

    def _later(self, text: str) -> None:
        """Text that goes out with the next that has to, in one piece."""
        with self._writing:
            self._pending.append(text)

    def _flush(self) -> None:
        with self._writing:
            text, self._pending = "".join(self._pending), []
        if text:
            self._send(text)

    def out(self, text: str) -> None:
        """An answer."""
        self._later(text.translate(CONTROL).replace("\n", "\r\n") + "\r\n")
        if len(text) > 4096:
            self._flush()

    err = out

    page = out
    """Never paged."""

    def frame(self, text: str, title: str) -> None:
        """One picture below the other."""
        self.out(f"{title}\n{text}" if title else text)
        self._flush()

    def event(self, event: dict[str, Any], title: str) -> None:
        """An event of a capture, from another thread."""
        line = event_line(event, title)
        if line:
            self.out(line)
            self._flush()

    def ask(self, text: str, *, hidden: bool) -> str:
        """The next line typed."""
        self._editor.hidden = hidden
        try:
            return self._line(text)
        except (EOFError, Interrupted):
            raise KeyboardInterrupt from None
        finally:
            self._editor.hidden = False

    def confirm(self, text: str) -> bool:
        """A machine means what it says."""
        del text
        return True

    def pause(self, seconds: float) -> bool:
        """Wait; False after Ctrl-C."""
        self._flush()
        return not self._interrupt.wait(seconds)

    def spawn(self, argv: tuple[str, ...]) -> int:
        """Needs a terminal."""
        raise ParseError(f"{argv[0]} needs a terminal; this session is a plain one")

    # --- the loop

    def run(self) -> int:
        """Carry out lines until the other side leaves; the exit status: after an end without exit, that of an error."""
        while not self.driver.leaving:
            try:
                line = self._line(self.session.prompt)
            except Interrupted:
                continue
            except EOFError:
                self._goodbye()
                self._flush()
                return self.status
            self._interrupt.clear()
            self._carry_out(line)
        self._flush()
        return 0

    def _carry_out(self, line: str) -> None:
        try:
            self.driver.run(line, self._block(line))
        except AvishError as error:
            self.out(explain(error, MARK))
            self.status = self.status or error.exit_status
        except (KeyboardInterrupt, EOFError):
            self.out("given up; what was saved stays saved")
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  (a bug: told with a reference, and the shell lives on)
            self.out(bug(error, self.client.home))
            self.status = self.status or 70

    def _block(self, line: str) -> str | None:
        """The lines that a line announces; None when it announces none."""
        try:
            announced = wanted(line)
        except ParseError:
            return None
        if announced is None:
            return None
        lines: list[str] = []
        while (one := self._line("> ")).strip() != announced.end:
            lines.append(one)
        return "\n".join(lines)

    def _line(self, prompt: str) -> str:
        """The next line. Interrupted, EOFError."""
        self._later(prompt)
        while True:
            line = self._fed(prompt)
            if line is not None:
                return line
            self._flush()
            if self._ended:
                raise EOFError
            self._rest = self._incoming.get()
            self._ended = self._rest == END

    def _fed(self, prompt: str) -> str | None:
        """The line, if what has come in makes one whole; what is behind it, or behind a Ctrl-C, stays for later."""
        try:
            return self._editor.feed(self._rest, prompt)[0]
        finally:
            self._rest = self._editor.left if self._rest else b""

    def _goodbye(self) -> None:
        unsaved = self.session.unsaved()
        if unsaved:
            self.out(f"{unsaved}; it is dropped")
            self.status = self.status or 2
        self._later("\r\n")

    # --- help

    def _question(self, key: str, before: str) -> tuple[str, str]:
        if key == "?" and _in_quotes(before):
            return "?", ""
        found = complete(self.tree, self.session.modes, before, self._names)
        if self.session.candidate is None:
            found = self._rights.permitted(before, found, self.session.tenant)
        words = [one for one in found if one.literal]
        if key == "\t" and words:
            more = _common(before, words, only=len(found) == 1)
            if more:
                return more, ""
        return "", _listing(found) or "nothing is possible here: the line is already wrong or complete"


def _common(before: str, words: list[Suggestion], *, only: bool) -> str:
    typed = before[words[0].start :]
    shared = os.path.commonprefix([one.text for one in words])  # noqa: RUF071  (letters are what is meant)
    if len(words) == 1 and (typed or only) and shared.startswith(typed):
        return shared[len(typed) :] + " "
    return shared[len(typed) :] if typed and shared.startswith(typed) else ""


def _listing(found: Sequence[Suggestion]) -> str:
    width = min(40, max((len(one.text) for one in found), default=0))
    return "\n".join(f"  {one.text.ljust(width)}  {one.help}".rstrip() for one in found[:300])


def _in_quotes(before: str) -> bool:
    try:
        return bool(lex(before, partial=True).open_quote)
    except ParseError:
        return False

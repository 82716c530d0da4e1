"""The front for scripts: lines from standard input, a file or the command line; stops at the first error."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from avish.errors import ApplyError, AvishError, ParseError
from avish.lang.blocks import wanted
from avish.lang.lex import LINE_LIMIT
from avish.shell.driver import Driver
from avish.shell.explain import explain
from avish.shell.streams import event_line

if TYPE_CHECKING:
    from avish.lang.check import Checker

Numbered = Iterator[tuple[int, str | ParseError]]
"""Line numbers from 1, and the line or why it could not be read."""


class BatchScreen:
    """Standard output and standard error, whole lines at a time, also from several threads."""

    def __init__(self, out: IO[str], err: IO[str], *, quiet: bool = False) -> None:
        self._out, self._err, self._quiet = out, err, quiet
        self._lock = threading.Lock()
        self.script: Script | None = None
        """Where answers come from."""

    def out(self, text: str) -> None:
        """An answer. ApplyError when it cannot be written; a reader that has gone is BrokenPipeError."""
        try:
            with self._lock:
                print(text, file=self._out, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ApplyError(f"standard output cannot be written: {error.strerror}") from None

    def raw(self, data: bytes) -> None:
        """Bytes of an answer that is no text."""
        with self._lock:
            buffer = getattr(self._out, "buffer", None)
            if buffer is None:
                self._out.write(data.decode("utf-8", "surrogateescape"))
            else:
                buffer.write(data)
                buffer.flush()

    def err(self, text: str) -> None:
        """Something beside the answer."""
        with self._lock:
            print(text, file=self._err, flush=True)

    page = out
    """A script's output is never paged."""

    def ask(self, text: str, *, hidden: bool) -> str:  # noqa: ARG002  (nothing is shown of a script's lines)
        """The next line of the script."""
        line = self.script.next() if self.script else None
        if line is None:
            raise ParseError(f"the script ends where an answer is expected: {text}")
        return line

    def confirm(self, text: str) -> bool:  # noqa: ARG002
        """A script means what it says."""
        return True

    def frame(self, text: str, title: str) -> None:
        """One picture below the other."""
        self.out(f"{title}\n{text}" if title else text)

    def pause(self, seconds: float) -> bool:
        """Only a terminal gets a second picture: a script goes on."""
        if not self._out.isatty():
            return False
        time.sleep(seconds)  # the user's interval; Ctrl-C ends the script
        return True

    def spawn(self, argv: tuple[str, ...]) -> int:
        """Needs a terminal."""
        raise ParseError(f"{argv[0]} needs a terminal")

    def event(self, event: dict[str, Any], title: str) -> None:
        """An event of a capture."""
        if not self._quiet and (line := event_line(event, title)):
            self.out(line)


def lines_of(stream: IO[bytes]) -> Numbered:
    """Numbered lines of text; a line that is too long or no UTF-8 comes as the error it is."""
    number = 0
    while raw := stream.readline(4 * LINE_LIMIT):
        number += 1
        whole = raw.endswith(b"\n") or len(raw) < 4 * LINE_LIMIT
        if not whole:
            while (rest := stream.readline(4 * LINE_LIMIT)) and not rest.endswith(b"\n"):
                pass
            yield number, ParseError(f"the line is longer than {LINE_LIMIT} characters")
            continue
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield (
                number,
                ParseError(f"this is no text: byte {raw[error.start]:#04x} at column {error.start + 1} is not UTF-8"),
            )


class Script:
    """The lines of a script, with the blocks that some of them announce."""

    def __init__(self, lines: Numbered) -> None:
        self._lines = lines
        self.number = 0

    def next(self) -> str | None:
        """The next line; None at the end. ParseError when it could not be read."""
        self.number, line = next(self._lines, (self.number, None))
        if isinstance(line, ParseError):
            raise line
        return line

    def block(self, line: str) -> str | None:
        """The lines that ``line`` announces; None when it announces none."""
        announced = wanted(line)
        if announced is None:
            return None
        return "\n".join(self._until(announced.end))

    def _until(self, end: str) -> Iterator[str]:
        begun = self.number
        while (line := self.next()) is not None:
            if line.strip() == end:
                return
            yield line
        raise ParseError(f"the lines that line {begun} announces have no end: {end} is missing")


def run_batch(driver: Driver, lines: Numbered, *, keep_going: bool) -> int:
    """All lines; the exit status."""
    status, number = 0, 0
    script = Script(lines)
    if isinstance(driver.screen, BatchScreen):
        driver.screen.script = script
    while True:
        begun = 0
        try:
            line = script.next()
            begun = number = script.number
            if line is None:
                break
            driver.run(line, script.block(line))
        except AvishError as error:
            driver.screen.err(explain(error, f"line {begun or script.number}", begun))
            status = status or error.exit_status
            if not keep_going:
                break
            if dropped := driver.session.drop_refused():
                driver.screen.err(f"line {begun or script.number}: {dropped}; going on behind it")
        except KeyboardInterrupt:
            driver.screen.err(f"interrupted at line {number}; what was saved stays saved")
            return 130
        if driver.leaving:
            return status
    return _ended_inside(driver, number, status) or _summed(driver)


def _summed(driver: Driver) -> int:
    """The end of a dry run: the sum of what it would do."""
    try:
        driver.sum_up()
    except AvishError as error:
        driver.screen.err(explain(error))
        return error.exit_status
    return 0


def _ended_inside(driver: Driver, number: int, status: int) -> int:
    """A script that leaves an object open has not saved it: say so."""
    candidate = driver.session.candidate
    if candidate is None:
        return _ended_uncommitted(driver, number, status)
    what = f"{candidate.type.word} {candidate.name}"
    if status == 0:
        levels = len(candidate.frames)
        driver.screen.err(
            f"line {number}: the input ends inside {driver.session.mode}: nothing of {what} was saved"
            f" ({levels} more save{'s' if levels > 1 else ''} needed, one for each open level)"
        )
        return 2
    driver.screen.err(f"nothing of {what} was saved")
    return status


def _ended_uncommitted(driver: Driver, number: int, status: int) -> int:
    """A script that leaves a session uncommitted has changed nothing: say so."""
    unsaved = driver.session.unsaved()
    if not unsaved:
        return status
    driver.screen.err(f"line {number}: the input ends and {unsaved} (commit is missing)")
    return status or 2


def check_lines(checker: Checker, lines: Numbered) -> int:
    """``--parse-only``: one JSON object a line; 2 if any was refused."""
    status = 0
    encode = json.JSONEncoder(ensure_ascii=False).encode
    write = sys.stdout.write
    for number, text, verdict in _verdicts(checker, lines):
        if not verdict["ok"]:
            status = 2
        write(encode({"line": number, "text": text, **verdict}) + "\n")
    sys.stdout.flush()
    return status


def _verdicts(checker: Checker, lines: Numbered) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Number, text and verdict of each line; those of a block are fine when the line that announces it is."""
    for number, line in lines:
        if isinstance(line, ParseError):
            yield number, "", {"ok": False, "error": line.text, "expected": []}
            continue
        announced = wanted(line)
        if announced is None:
            verdict = checker.check(line)
            yield number, checker.shown, verdict
            continue
        block, ended = _block(lines, announced.end)
        verdict = checker.check(line, "\n".join(text for _, text in block), number)
        if not ended:
            verdict = {"ok": False, "error": f"its lines have no end: {announced.end} is missing", "expected": []}
        yield number, checker.shown, verdict
        for (inner, _), text in zip(block, checker.block, strict=True):
            yield inner, text, {"ok": True, "mode": checker.mode}
        if ended:
            yield *ended, {"ok": True, "mode": checker.mode}


def _block(lines: Numbered, end: str) -> tuple[list[tuple[int, str]], tuple[int, str] | None]:
    """The numbered lines up to ``end``, and that line itself, None when it never comes."""
    block: list[tuple[int, str]] = []
    for number, line in lines:
        text = "" if isinstance(line, ParseError) else line
        if text.strip() == end:
            return block, (number, text)
        block.append((number, text))
    return block, None

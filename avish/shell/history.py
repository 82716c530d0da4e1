"""The lines a user typed, kept over sessions: in a file for nobody else to read, and without secrets."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from prompt_toolkit.history import History

from avish.newfile import PRIVATE, new_file

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
KEPT = 10_000
"""Lines that are kept."""


def history_file(user: str) -> Path:
    """Where the lines of a user are kept."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(state) / "avish" / f"history-{user}"


class LineHistory(History):
    """``clean``: a line without its secrets, "" for one that is not kept. A file that cannot be had is no error."""

    def __init__(self, path: Path, clean: Callable[[str], str]) -> None:
        super().__init__()
        self._path, self._clean = path, clean

    def load_history_strings(self) -> Iterable[str]:
        """Newest first."""
        try:
            lines = self._path.read_text(errors="replace").splitlines()
        except OSError:
            return []
        if len(lines) > 2 * KEPT:
            self._cut()
        return reversed(lines[-KEPT:])

    def append_string(self, string: str) -> None:
        """Keep a line, unless it says nothing or the last one said the same."""
        line = self._clean(string.strip())
        known = self.get_strings()
        if line and (not known or known[-1] != line):
            super().append_string(line)

    def store_string(self, string: str) -> None:
        """One more line of the file."""
        if string.isprintable() or "\t" in string:
            with suppress(OSError), self._opened() as file:  # a home that is read-only keeps no history
                file.write(f"{string}\n".encode())

    def _cut(self) -> None:
        """Keep the newest lines, those that other shells have added meanwhile among them."""
        with suppress(OSError), self._opened():
            lines = self._path.read_text(errors="replace").splitlines()[-KEPT:]
            with new_file(self._path) as file:
                file.write("".join(f"{line}\n" for line in lines).encode())

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """The file, to add to; nobody else does meanwhile, nor puts another in its place."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            with os.fdopen(os.open(self._path, FLAGS, PRIVATE), "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                    os.fchmod(file.fileno(), PRIVATE)
                    yield file
                    return

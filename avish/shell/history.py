"""The lines a user typed, kept over sessions: in a file for nobody else to read, and without secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit.history import History

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
            self._write("".join(f"{line}\n" for line in lines[-KEPT:]), os.O_TRUNC)
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
            self._write(f"{string}\n", os.O_APPEND)

    def _write(self, text: str, how: int) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how, 0o600)
            with os.fdopen(fd, "w") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
        except OSError:
            return  # a home that is read-only keeps no history

"""Whether a process that does not answer is at work: it uses the processor, or waits for one or for the kernel.

One that has been stopped, or waits for itself, does not; a process is not asked, since it might be too busy to say so.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
_STATE, _USER_TIME, _SYSTEM_TIME = 0, 11, 12
_AT_WORK, _STOPPED = frozenset("RD"), frozenset("Tt")


class Lifesign:
    """Looks at the process at the other end of a Unix socket, from now on."""

    def __init__(self, connection: socket.socket) -> None:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self._pid = _CREDENTIALS.unpack(data)[0]
        self._spent = self._look()[1]

    def at_work(self) -> bool:
        """Whether it did anything since the last look, or is just about to."""
        states, spent = self._look()
        before, self._spent = self._spent, spent
        if not states or states & _STOPPED or self._pid == os.getpid():
            return False
        return spent > before or bool(states & _AT_WORK)

    def _look(self) -> tuple[set[str], int]:
        """The states of its threads, and the ticks of the clock that they have used."""
        found = [_fields(path) for path in Path(f"/proc/{self._pid}/task").glob("*/stat")] if self._pid else []
        every = [fields for fields in found if fields]
        ticks = sum(int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME]) for fields in every)
        return {fields[_STATE] for fields in every}, ticks


def _fields(path: Path) -> list[str]:
    """What stands behind the name, which may hold anything; nothing of a thread that has just ended."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []

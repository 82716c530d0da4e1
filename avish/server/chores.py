"""What the controller does from time to time: scheduled backups, and the logs put aside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)
Chore = Callable[[], float]
"""Does what is due; gives the seconds until it wants to look again."""
RETRY_SECONDS = 60.0


class Chores:
    """A thread; ``wake`` has it look at once."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = chores
        self._woken = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a chore that runs is finished first."""
        self._ended = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Something has changed."""
        self._woken.set()

    def _run(self) -> None:
        while not self._ended:
            self._woken.clear()
            self._woken.wait(min(self._done(chore) for chore in self._chores))

    def _done(self, chore: Chore) -> float:
        if self._ended:
            return 0.0
        try:
            return chore()
        except Exception:  # the thread must outlive a bug, and say so
            log.exception("a chore of the controller failed")
            return RETRY_SECONDS

"""What the controller tells every session while it waits for a line, and the countdown of a commit confirm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from avish.api.client import Client
from avish.errors import AvishError, UnavailableError
from avish.shell.clock import local

AGAIN_SECONDS = 1.0
"""Between two attempts to reach a controller that went away."""
Told = dict[str, Any]


class Bulletin:
    """A thread that listens. ``show`` gets each text, ``tick`` is called each second while a commit waits: from there.

    A controller that died and came back is asked for what it told meanwhile.
    """

    def __init__(
        self, client: Client, zone: Callable[[], str], show: Callable[[str], None], tick: Callable[[], None]
    ) -> None:
        self._client = client.twin()
        self._stream = client.twin()
        self._zone = zone
        self._show = show
        self._tick = tick
        self._last = ""
        self._met = False
        self._ended = threading.Event()
        self._pending: Told | None = None
        self._thread = threading.Thread(target=self._run, name="bulletin", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no longer; the thread ends within a second."""
        self._ended.set()

    def countdown(self) -> str:
        """``commit 12 rolls back in 0:42``; "" while no commit waits."""
        pending = self._pending
        if pending is None:
            return ""
        left = max(0, round(datetime.fromisoformat(pending["until"]).timestamp() - time.time()))
        if not left:
            return f"commit {pending['revision']} rolls back as soon as the controller can"
        hours, seconds = divmod(left, 3600)
        clock = f"{hours}:{seconds // 60:02}:{seconds % 60:02}" if hours else f"{seconds // 60}:{seconds % 60:02}"
        return f"commit {pending['revision']} rolls back in {clock}"

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
            except AvishError:
                self._tick()  # what waits goes on waiting in the store
            self._ended.wait(AGAIN_SECONDS)

    def _listen(self) -> None:
        for number, event in enumerate(self._stream.stream("/api/notices")):
            if self._ended.is_set():
                return
            if number == 0:
                self._catch_up()
            if "text" in event:
                self._tell(event)
                self._look()
            elif self._pending is not None:
                self._tick()

    def _catch_up(self) -> None:
        """What was told while nobody listened; a new session is told only of what still waits."""
        recent: list[Told] = self._asked("/api/notices", {"recent": "1"})
        self._look()
        if not self._met:
            self._last = max((one["time"] for one in recent), default="")
            waits = [one for one in recent if one["kind"] == "confirm"] if self._pending else []
            for one in waits[-1:]:
                self._print(one)
        self._met = True
        for one in recent:
            self._tell(one)

    def _tell(self, notice: Told) -> None:
        if notice["time"] > self._last:
            self._last = notice["time"]
            self._print(notice)

    def _print(self, notice: Told) -> None:
        self._show(f"*** {local(notice['time'], self._zone())} {notice['text']}")

    def _look(self) -> None:
        self._pending = self._asked("/api/confirm")["pending"]
        self._tick()

    def _asked(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """The answer; UnavailableError when it is a refusal, as that of a controller that is just starting."""
        answer = self._client.call("GET", path, query)
        if answer.status >= 400:
            raise UnavailableError(f"{path}: {answer.status}")
        return answer.body

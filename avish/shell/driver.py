"""Carries out what a session asks for: calls, text, streams. Shared by the batch and the terminal front."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from avish.api.client import Answer, Client, target
from avish.errors import AvishError
from avish.shell.effects import Call, Document, Effect, Exit, Print, Reply, Stream, Warn
from avish.shell.session import Session


class TracedClient(Client):
    """A client that writes down each call: method, path, status, milliseconds."""

    def __init__(self, home: Path, files: list[IO[str]]) -> None:
        super().__init__(home)
        self._files = files

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None, etag: str = ""
    ) -> Answer:
        """As Client.call."""
        began = time.perf_counter()
        answer = super().call(method, path, query, body, etag)
        took = (time.perf_counter() - began) * 1000
        for file in self._files:
            print(f"{method} {target(path, query)} {answer.status} {took:.1f} ms", file=file, flush=True)
        return answer


class Screen(Protocol):
    """Where text goes: ``out`` is the answer, ``err`` what stands beside it."""

    def out(self, text: str) -> None: ...
    def err(self, text: str) -> None: ...


class Streams:
    """The captures this shell shows, each read by a thread of its own; ``show`` must be safe to call from there."""

    def __init__(self, client: Client, show: Callable[[dict[str, Any], str], None]) -> None:
        self._client = Client(client.home)
        self._show = show
        self._running: dict[str, threading.Thread] = {}

    def start(self, stream: Stream) -> None:
        """Show the events of ``stream``, unless they are shown already."""
        thread = self._running.get(stream.path)
        if thread is not None and thread.is_alive():
            return
        thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._running[stream.path] = thread
        thread.start()

    def _read(self, stream: Stream) -> None:
        try:
            for event in self._client.stream(stream.path):
                self._show(event, stream.title)
        except AvishError as error:
            self._show({"event": "broken", "reason": str(error)}, stream.title)


class Driver:
    """Runs lines of a session. ``leaving`` turns True when the session is over."""

    def __init__(self, session: Session, client: Client, screen: Screen, streams: Streams, *, as_json: bool) -> None:
        self.session = session
        self.client = client
        self.screen = screen
        self.streams = streams
        self.as_json = as_json
        self.leaving = False

    def run(self, line: str) -> None:
        """One line to its end. Raises AvishError."""
        steps = self.session.run(line)
        reply: Reply | None = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration:
                return
            reply = self._answer(effect)

    def _answer(self, effect: Effect) -> Reply | None:
        if isinstance(effect, Call):
            answer = self.client.call(effect.method, effect.path, effect.query, effect.body)
            return Reply(answer.status, answer.body, answer.warnings)
        if isinstance(effect, Document):
            if self.as_json or effect.asked:
                self._out(json.dumps(effect.value, indent=2, ensure_ascii=False), effect.pipes)
        elif isinstance(effect, Print):
            if not self.as_json:
                self._out(effect.text, effect.pipes)
        elif isinstance(effect, Warn):
            self.screen.err(f"warning: {effect.text}")
        elif isinstance(effect, Stream):
            self.streams.start(effect)
        elif isinstance(effect, Exit):
            self.leaving = True
        return None

    def _out(self, text: str, pipes: tuple[tuple[str, ...], ...]) -> None:
        if pipes:
            from avish.shell.pipes import piped  # start-up does not pay for a pipe

            text = piped(text, pipes)
        if text:
            self.screen.out(text)


def event_line(event: dict[str, Any], title: str) -> str:
    """A capture's event as a line of text; "" for one that says nothing."""
    kind = event.get("event")
    if kind == "packet":
        return str(event["line"])
    if kind == "started":
        return f"capture on {title}: {event.get('limits', '')} -> {event.get('file', '')}"
    if kind == "dropped":
        return f"capture on {title}: {event.get('count')} packets not shown here (they are in the file)"
    if kind == "ended":
        return (
            f"capture on {title} ended: {event.get('reason')}; {event.get('packets')} packets in {event.get('file')}"
            f", {event.get('lost')} lost by the kernel"
        )
    if kind == "broken":
        return f"capture on {title}: no more lines here: {event.get('reason')}"
    return ""

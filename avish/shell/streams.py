"""Captures as they are shown: read by threads of their own, through grep, paused, with a status line."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from avish.api.client import Client
from avish.errors import AvishError
from avish.shell.effects import Pipes, Stream

if TYPE_CHECKING:
    import subprocess

    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyPressEvent

Event = dict[str, Any]
Show = Callable[[Event, str], None]
_REMEMBERED = 5000


class Shown:
    """One stream on this screen: ``shown``, ``held`` (while paused), and of a capture its last ``status``."""

    def __init__(self, stream: Stream, show: Show) -> None:
        self.title = stream.title
        self.status: Event | None = None
        self.missed = self.shown = self.held = 0
        self._show = show
        self._sieve = self._sieve_of(stream.pipes)

    def _sieve_of(self, pipes: Pipes) -> Sieve | None:
        return Sieve(pipes, self.show) if pipes else None

    def show(self, event: Event) -> None:
        """Put it on the screen."""
        self.shown += event.get("event") == "packet"
        self._show(event, self.title)

    def put(self, event: Event) -> None:
        """Offer a packet to the filter, or show it."""
        sieve = self._sieve
        if sieve is None:
            self.show(event)
        else:
            sieve.put(event)

    def sift(self, pipes: Pipes) -> None:
        """From now on through another filter."""
        old, self._sieve = self._sieve, self._sieve_of(pipes)
        if old is not None:
            old.close()

    def close(self) -> None:
        """Nothing more comes."""
        if self._sieve is not None:
            self._sieve.close()

    def line(self) -> str:
        """Its part of the status line; "" where there is nothing to count."""
        one = self.status
        if one is None:
            return ""
        return (
            f"{self.title}: seen {one['seen']} kept {one['kept']} shown {self.shown}"
            f" dropped kernel {one['lost']} queue {one['queue']} screen {one['screen'] + self.held}"
            f", {_size(one['bytes'])}, left {one['left']}"
        )


class Streams:
    """The captures and events this shell shows; ``show`` must be safe to call from their threads.

    ``paused``: packets are not shown, but counted.
    """

    def __init__(self, client: Client, show: Show) -> None:
        self._client = client.twin()
        self._show = show
        self._running: dict[str, tuple[threading.Thread, Shown]] = {}
        self._followed = ""
        self._foreground: Shown | None = None
        self.paused = False

    @property
    def active(self) -> bool:
        """Whether anything is shown."""
        return any(thread.is_alive() for thread, _ in self._running.values())

    def start(self, stream: Stream) -> None:
        """Show the events of ``stream``; of one that is shown already through this filter from now on."""
        if stream.path in self._running:
            thread, shown = self._running[stream.path]
            if thread.is_alive():
                shown.sift(stream.pipes)
                return
        shown = Shown(stream, self._show)
        thread = threading.Thread(target=self._read, args=(stream, shown, None), daemon=True)
        self._running[stream.path] = thread, shown
        thread.start()

    def follow(self, stream: Stream, out: Callable[[str], None]) -> None:
        """Show the events until they end; ``out`` takes them as JSON where that is asked for. Raises AvishError."""
        self._followed = stream.path.partition("?")[0]  # and not a second time in the background
        self._foreground = Shown(stream, self._show)
        try:
            self._read(stream, self._foreground, out, raises=True)
        finally:
            self._foreground = None

    def status_line(self) -> str:
        """What is to be said of the captures that are shown; "" while there is none."""
        every = [shown for _, shown in list(self._running.values())]
        parts = [line for shown in [*every, self._foreground] if shown is not None and (line := shown.line())]
        if not parts:
            return ""
        if self.paused:
            return "PAUSED (Ctrl-S goes on) " + " | ".join(parts)
        return " | ".join(parts) + " Ctrl-S pauses"

    def _read(self, stream: Stream, shown: Shown, out: Callable[[str], None] | None, *, raises: bool = False) -> None:
        try:
            for event in self._client.stream(stream.path):
                if out is None and stream.path == self._followed:
                    continue
                if stream.raw and out is not None:
                    out(json.dumps(event, ensure_ascii=False))
                else:
                    self._pass(event, shown)
        except AvishError as error:
            if raises:
                raise
            shown.show({"event": "broken", "reason": str(error)})
        finally:
            shown.close()
            if shown.status is not None:
                shown.status = None
                shown.show({"event": "status"})

    def _pass(self, event: Event, shown: Shown) -> None:
        kind = event.get("event")
        if kind == "packet":
            if self.paused:
                shown.held += 1
            else:
                shown.put(event)
            return
        if kind in ("status", "ended"):
            dropped = int(event.get("queue", 0)) + int(event.get("screen", 0))
            event = {**event, "missed": dropped - shown.missed}
            shown.missed = dropped
            if kind == "status" and "seen" in event:  # of a capture; events have only a sign of life
                shown.status = event
            elif kind == "ended":
                shown.close()
        shown.show(event)


def pausing(prompt: PromptSession[str], streams: Streams) -> None:
    """Give a prompt the key that pauses: Ctrl-S, while a capture is shown."""
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings

    keys = KeyBindings()

    @keys.add("c-s", filter=Condition(lambda: streams.active))
    def _(event: KeyPressEvent) -> None:
        streams.paused = not streams.paused
        event.app.invalidate()

    own = [keys] if prompt.key_bindings is None else [prompt.key_bindings, keys]
    prompt.key_bindings = merge_key_bindings(own)


class Sieve:
    """Packets through ``| grep``; those that pass go to ``show``, coloured as they were."""

    def __init__(self, pipes: Pipes, show: Callable[[Event], None]) -> None:
        import subprocess  # start-up pays for every import

        from avish.shell.pipes import stream_arguments

        self._show = show
        self._fed: deque[Event] = deque(maxlen=_REMEMBERED)
        pipe = subprocess.PIPE
        self._children: list[subprocess.Popen[str]] = []
        source: Any = pipe
        for arguments in stream_arguments(pipes):
            child = subprocess.Popen(arguments, stdin=source, stdout=pipe, text=True, bufsize=1)
            if self._children and source is not None:
                source.close()
            self._children.append(child)
            source = child.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def put(self, event: Event) -> None:
        """Offer a packet."""
        first = self._children[0].stdin
        if first is not None and not first.closed:
            self._fed.append(event)
            try:
                first.write(f"{event['line']}\n")
            except (BrokenPipeError, ValueError):
                return  # grep has had enough (-m), or another filter came in between

    def close(self) -> None:
        """No more packets; those that pass are shown on return."""
        first = self._children[0].stdin
        if first is not None and not first.closed:
            try:
                first.close()
            except BrokenPipeError:
                return
        self._reader.join()
        for child in self._children:
            child.wait()

    def _read(self) -> None:
        last = self._children[-1].stdout
        if last is None:
            return
        for text in last:
            line = text.rstrip("\n")
            while self._fed and self._fed[0]["line"] != line and line in {one["line"] for one in self._fed}:
                self._fed.popleft()
            same = bool(self._fed) and self._fed[0]["line"] == line
            self._show(self._fed.popleft() if same else {"event": "packet", "line": line})


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def event_line(event: Event, title: str) -> str:
    """A capture's event as a line of text; "" for one that says nothing."""
    kind = event.get("event")
    if kind in ("packet", "event"):
        return str(event["line"])
    text = _TEXTS[kind](event) if kind in _TEXTS else ""
    return f"capture on {title}{text}" if text else ""


_TEXTS: dict[Any, Callable[[Event], str]] = {
    "started": lambda event: f": {event.get('limits', '')} -> {event.get('file', '')}",
    "note": lambda event: f": {event.get('text')}",
    "status": lambda event: _missed_text(event.get("missed", 0)),
    "ended": lambda event: (
        f" ended: {event.get('reason')}; {event.get('packets')} packets in {event.get('file')}"
        f", {event.get('lost')} lost by the kernel"
    ),
    "broken": lambda event: f": no more lines here: {event.get('reason')}",
}


def _missed_text(count: int) -> str:
    return f": {count} packets not shown here (they are in the file)" if count else ""

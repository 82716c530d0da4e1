"""Captures as a session shows them: through grep, paused, with a status line; and their bytes on the way to a file."""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import pytest

from avish.errors import ApplyError, ParseError, UnavailableError, ValidationError
from avish.shell.batch import BatchScreen
from avish.shell.effects import Fetch, Stream
from avish.shell.fetch import fetch
from avish.shell.files import _REMOTE
from avish.shell.streams import Streams, event_line

STATUS = {"event": "status", "seen": 9, "kept": 8, "lost": 1, "queue": 2, "screen": 3, "bytes": 250_000, "left": "1:00"}


def packet(number: int) -> dict[str, object]:
    return {"event": "packet", "line": f"packet {number}", "flow": number}


class Told:
    """A client whose streams are given, and what was shown of them."""

    def __init__(self, *events: dict[str, object]) -> None:
        self.events = events
        self.asked: list[str] = []
        self.shown: list[dict[str, object]] = []

    def twin(self) -> Told:
        return self

    def stream(self, path: str):
        self.asked.append(path)
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event

    def streams(self) -> Streams:
        return Streams(self, lambda event, _: self.shown.append(event))  # type: ignore[arg-type]

    def lines(self) -> list[str]:
        return [text for event in self.shown if (text := event_line(event, "se1"))]


@pytest.mark.parametrize(
    ("pipes", "lines"),
    [
        ((("grep", "3"),), ["packet 3", "packet 13"]),
        ((("grep", "-v", "3"),), [f"packet {n}" for n in range(14) if "3" not in str(n)]),
        ((("grep", "1"), ("grep", "-e", "3")), ["packet 13"]),
        ((("grep", "-m", "1", "packet"),), ["packet 0"]),
        ((("grep", "-c", "packet"),), ["14"]),
    ],
)
def test_grep_takes_packets_one_by_one(pipes, lines) -> None:
    told = Told(*map(packet, range(14)))
    told.streams().follow(Stream("/x", "se1", pipes), print)
    assert told.lines() == lines


def test_what_passes_grep_keeps_its_flow() -> None:
    told = Told(*map(packet, range(5)))
    told.streams().follow(Stream("/x", "se1", (("grep", "[24]"),)), print)
    assert [event["flow"] for event in told.shown] == [2, 4]


def test_a_grep_that_is_none_is_refused() -> None:
    with pytest.raises(ParseError):
        Told().streams().follow(Stream("/x", "se1", (("grep", "-r", "x"),)), print)


def test_a_paused_session_counts_what_it_does_not_show() -> None:
    told = Told(packet(1), packet(2), {**STATUS})
    streams = told.streams()
    streams.paused = True
    lines = []
    told.shown = SimpleNamespace(append=lambda event: lines.append(streams.status_line()))  # type: ignore[assignment]
    streams.follow(Stream("/x", "se1"), print)
    assert lines[0] == (
        "PAUSED (Ctrl-S goes on) se1: seen 9 kept 8 shown 0 dropped kernel 1 queue 2 screen 5, 0.2 MB, left 1:00"
    )
    assert lines[-1] == ""


def test_signs_of_life_of_the_events_say_nothing() -> None:
    told = Told({"event": "status"}, {"event": "event", "line": "VS_DOWN web"})
    streams = told.streams()
    seen = []
    told.shown = SimpleNamespace(append=lambda event: seen.append(streams.status_line()))  # type: ignore[assignment]
    streams.follow(Stream("/events", "events"), print)
    assert set(seen) == {""}


class Slow(Told):
    """Its packets come when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[dict[str, object] | None] = Queue()

    def stream(self, path: str):
        yield from iter(self.queue.get, None)

    def wait(self, count: int) -> None:
        for _ in range(1000):
            if len(self.shown) >= count:
                return
            threading.Event().wait(0.01)
        raise AssertionError(self.shown)


def test_a_second_command_brings_its_own_filter_and_only_what_passes_is_counted() -> None:
    told = Slow()
    streams = told.streams()
    streams.start(Stream("/x", "se1", (("grep", "1"),)))
    for number in (1, 2, 3):
        told.queue.put(packet(number))
    told.wait(1)
    streams.start(Stream("/x", "se1", (("grep", "[56]"),)))
    for number in (4, 5, 6):
        told.queue.put(packet(number))
    told.wait(3)
    shown = streams._running["/x"][1]
    told.queue.put(None)
    streams._running["/x"][0].join(10)
    assert told.lines() == ["packet 1", "packet 5", "packet 6"]
    assert shown.shown == 3


def test_what_was_not_shown_is_told_once() -> None:
    told = Told(
        {**STATUS}, {**STATUS}, {"event": "ended", "reason": "r", "packets": 9, "file": "f", "lost": 0, "queue": 9}
    )
    told.streams().follow(Stream("/x", "se1"), print)
    assert told.lines() == [
        "capture on se1: 5 packets not shown here (they are in the file)",
        "capture on se1 ended: r; 9 packets in f, 0 lost by the kernel",
    ]


def test_a_stream_that_breaks_is_told_or_refuses_the_line() -> None:
    told = Told(UnavailableError("gone"))  # type: ignore[arg-type]
    with pytest.raises(UnavailableError):
        told.streams().follow(Stream("/x", "se1"), print)
    streams = told.streams()
    streams.start(Stream("/x", "se1"))
    streams._running["/x"][0].join(10)
    assert told.lines() == ["capture on se1: no more lines here: gone"]


def data(content: bytes) -> dict[str, object]:
    return {"event": "data", "data": base64.b64encode(content).decode()}


WHOLE = ({"event": "file", "name": "../se.pcapng", "size": 4}, data(b"\n\r"), data(b"\r\n"))


def test_a_download_has_the_name_the_controller_gives_and_stays_in_its_directory(tmp_path: Path) -> None:
    where = fetch(Told(*WHOLE), Fetch("/f", f"{tmp_path}/"), None)  # type: ignore[arg-type]
    assert where == str(tmp_path / "se.pcapng")
    assert Path(where).read_bytes() == b"\n\r\r\n"
    assert Path(where).stat().st_mode & 0o777 == 0o600


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="broke off after 2 of 4 bytes"):
        fetch(Told(*WHOLE[:2]), Fetch("/f", f"{tmp_path}/"), None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_bytes_go_to_a_scripts_output_as_they_are() -> None:
    every = bytes(range(256))
    local = SimpleNamespace(buffer=io.BytesIO())
    screen = BatchScreen(local, io.StringIO())  # type: ignore[arg-type]
    assert fetch(Told(data(every)), Fetch("/f", "-"), screen) == "-"  # type: ignore[arg-type]
    assert local.buffer.getvalue() == every
    sent: list[bytes] = []
    remote = SimpleNamespace(write=lambda text: sent.append(text.encode("utf-8", "surrogateescape")))
    fetch(Told(data(every)), Fetch("/f", "-"), BatchScreen(remote, io.StringIO()))  # type: ignore[arg-type]
    assert sent == [every]


def test_a_terminal_gets_no_packets_but_the_line_that_does() -> None:
    with pytest.raises(ValidationError, match=r"ssh HOST .* \| wireshark"):
        fetch(Told(), Fetch("/f", "-"), SimpleNamespace())  # type: ignore[arg-type]


def test_over_ssh_nothing_is_written_on_the_controllers_disk(tmp_path: Path) -> None:
    told = Told(*WHOLE)
    token = _REMOTE.set(told)  # type: ignore[arg-type]
    try:
        for to in (f"{tmp_path}/", f"{tmp_path}/x"):
            with pytest.raises(ValidationError, match="scp takes captures"):
                fetch(told, Fetch("/f", to), SimpleNamespace())  # type: ignore[arg-type]
    finally:
        _REMOTE.reset(token)
    assert list(tmp_path.iterdir()) == []

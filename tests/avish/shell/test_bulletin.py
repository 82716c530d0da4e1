"""What sessions are told while they wait, with a controller that goes and comes back."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from avish.errors import UnavailableError
from avish.shell import bulletin
from avish.shell.bulletin import Bulletin


class Controller:
    """``streams``: for each connection what it tells, until it breaks."""

    def __init__(self, streams, recent=(), pending=None):
        self.streams, self.recent, self.pending = list(streams), list(recent), pending
        self.home = "/nowhere"
        self.starting = 0
        """How many calls are still refused."""

    def twin(self):
        return self

    def work_in(self, tenant):
        self.tenant = tenant

    def call(self, method, path, query=None):
        body = {"pending": self.pending} if path == "/api/confirm" else list(self.recent)
        if self.starting:
            self.starting -= 1
            return SimpleNamespace(status=503, body={"error": "it is just starting"})
        return SimpleNamespace(status=200, body=body)

    def stream(self, path):
        if not self.streams:
            self.listener.stop()
            raise UnavailableError("it is away for good")
        for event in self.streams.pop(0):
            if callable(event):
                event(self)
            else:
                yield event
        raise UnavailableError("it is away")


def notice(number, kind="rollback"):
    return {"time": f"2026-11-25T10:00:0{number}+00:00", "text": f"text {number}", "kind": kind}


@pytest.fixture
def listen(monkeypatch):
    """Everything that a session is shown."""
    monkeypatch.setattr(bulletin, "AGAIN_SECONDS", 0)

    def run(controller):
        shown, ticks = [], []
        told = Bulletin(controller, lambda: "UTC", shown.append, lambda: ticks.append(1))
        controller.listener = told
        told.start()
        told._thread.join(10)
        assert not told._thread.is_alive()
        return [text.partition("UTC ")[2] for text in shown], len(ticks), told

    return run


IDLE = {"event": "idle"}


def test_what_is_told_is_shown_once(listen):
    shown, _, _ = listen(Controller([[IDLE, notice(1), notice(2), IDLE], [IDLE]], recent=[]))
    assert shown == ["text 1", "text 2"]


def test_a_new_session_is_told_only_of_what_still_waits(listen):
    recent = [notice(1, "confirm"), notice(2, "rollback"), notice(3, "confirm")]
    assert listen(Controller([[IDLE]], recent))[0] == []
    pending = {"revision": 3, "until": "2026-11-25T10:00:09+00:00"}
    assert listen(Controller([[IDLE]], recent, pending))[0] == ["text 3"]


def test_what_was_told_while_the_controller_came_back(listen):
    def died(controller):
        controller.recent.append(notice(5))

    shown, _, _ = listen(Controller([[IDLE, notice(1), died], [IDLE]], recent=[notice(1)]))
    assert shown == ["text 5"]


def test_the_countdown(listen):
    def pending(seconds):
        return {"revision": 12, "until": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}

    _, ticks, told = listen(Controller([[IDLE, IDLE, IDLE]], pending=pending(42.4)))
    assert told.countdown() == "commit 12 rolls back in 0:42"
    assert ticks >= 3
    assert listen(Controller([[IDLE]], pending=pending(3725.4)))[2].countdown() == "commit 12 rolls back in 1:02:05"
    assert listen(Controller([[IDLE]]))[2].countdown() == ""
    over = listen(Controller([[IDLE]], pending=pending(-5)))[2].countdown()
    assert over == "commit 12 rolls back as soon as the controller can"


def test_a_controller_that_is_just_starting_is_asked_again(listen):
    def died(controller):
        controller.starting, controller.pending = 1, None
        controller.recent.append(notice(5))

    pending = {"revision": 3, "until": "2026-11-25T10:00:09+00:00"}
    shown, _, told = listen(Controller([[IDLE, died], [IDLE], [IDLE]], pending=pending))
    assert (shown, told.countdown()) == (["text 5"], "")

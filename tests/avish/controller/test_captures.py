"""Capture jobs: files, limits, subscribers; the tap is a fake fed by hand."""

from __future__ import annotations

import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scapy.layers.inet import IP, TCP

from avish.controller import captures as module
from avish.controller import subscription as subscription_module
from avish.controller.captures import CaptureJob, Captures
from avish.controller.limits import Limits
from avish.controller.subscription import Subscription
from avish.errors import ApplyError, UnavailableError
from dataplane.driver import Driver
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import NAT_MARK, CaptureSpec, Packet

HANG = 20.0
DATA = bytes(IP(src="10.10.40.101", dst="10.10.20.100") / TCP(sport=20, dport=40123, flags="S"))
NAMES = {NAT_MARK | 1: {"rule": "ftp-nat/1 data", "virtualservice": "ftp-vs"}, 7: {"virtualservice": "ftp-vs"}}


def packet(mark: int = NAT_MARK | 1, data: bytes = DATA, point: str = "before") -> Packet:
    return Packet(1700000000.5, point, "original", mark, "eth2", len(data), data)  # type: ignore[arg-type]


class FakeCapture:
    """Gives what is put; an exception is raised, None is idleness, ``close`` ends it behind what was put."""

    END = object()

    def __init__(self) -> None:
        self.lost = 0
        self.closed = 0
        self.fed: queue.Queue[object] = queue.Queue()

    def put(self, *items: object) -> None:
        for item in items:
            self.fed.put(item)

    def __iter__(self) -> Iterator[Packet | None]:
        while (item := self.fed.get(timeout=HANG)) is not self.END:
            if isinstance(item, Exception):
                raise item
            yield cast("Packet | None", item)

    def close(self) -> None:
        self.closed += 1
        self.put(self.END)


class Bench:
    """A Captures with fake engines and a clock set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1_700_000_000.0
        self.taps: list[FakeCapture] = []
        self.specs: list[CaptureSpec] = []
        self.refusal: Exception | None = None
        self.described: list[int] = []
        self.captures = Captures(folder, self.driver_for, self.describe, lambda: self.now)

    def driver_for(self, name: str) -> Driver:
        if name == "nobody":
            raise UnavailableError("there is no nobody")
        return cast("Driver", SimpleNamespace(capture=self.capture))

    def capture(self, spec: CaptureSpec) -> FakeCapture:
        if self.refusal:
            raise self.refusal
        self.specs.append(spec)
        self.taps.append(FakeCapture())
        return self.taps[-1]

    def describe(self, mark: int) -> dict[str, str]:
        self.described.append(mark)
        return NAMES.get(mark, {})

    def start(self, **limits: int) -> tuple[CaptureJob, FakeCapture]:
        job = self.captures.start("se1", user="admin", **limits)
        return job, self.taps[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "captures")
    yield made
    made.captures.shutdown()


def until(subscription: Subscription, kind: str) -> list[dict[str, Any]]:
    """The events up to and with the first of a kind."""
    seen = []
    for event in subscription:
        seen.append(event)
        if event["event"] == kind:
            return seen
    raise AssertionError(f"no {kind} in {seen}")


def kinds(subscription: Subscription) -> list[str]:
    return [event["event"] for event in subscription if event["event"] != "idle"]


def test_packets_go_to_the_file_and_to_the_subscriber(bench: Bench) -> None:
    job, tap = bench.start()
    subscription = job.subscribe()
    tap.put(packet(), None, packet(7, point="after"))
    events = until(subscription, "packet")
    assert events[0] == {
        "event": "started",
        "engine": "se1",
        "file": str(job.file),
        "limits": "10000 packets, 50 MB or 10 minutes, 256 bytes per packet",
    }
    assert "internal before ftp-nat/1 ftp-vs    TCP" in events[-1]["line"]
    assert events[-1]["rule"] == "ftp-nat/1 data"
    assert (events[-1]["src"], events[-1]["sport"], events[-1]["flags"]) == ("10.10.40.101", 20, "S")
    bench.captures.stop("se1")
    ended = until(subscription, "ended")[-1]
    assert ended == {"event": "ended", "reason": "stopped", "packets": 2, "lost": 0, "file": str(job.file)}
    with pytest.raises(StopIteration):
        next(subscription)


def test_the_file_its_name_and_who_may_read_it(bench: Bench) -> None:
    job = bench.captures.start("sé 1/../x", user="admin")
    bench.captures.shutdown()
    assert job.file.parent == bench.folder
    assert re.fullmatch(r"se_nat_s__1_\.\._x_202311\d\d_\d{6}\.pcapng", job.file.name)
    assert bench.folder.stat().st_mode & 0o777 == 0o700
    assert job.file.stat().st_mode & 0o777 == 0o600


def test_two_captures_within_a_second_have_two_files(bench: Bench) -> None:
    first, _ = bench.start()
    bench.captures.stop("se1")
    second, _ = bench.start()
    assert first.file != second.file
    assert first.file.exists()


def test_the_comments_in_tshark(bench: Bench) -> None:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    job, tap = bench.start()
    tap.put(packet(), packet(7, point="after"), packet(99))
    bench.captures.stop("se1")
    done = subprocess.run(
        ["tshark", "-r", str(job.file), "-T", "fields", "-e", "frame.comment", "-e", "frame.interface_name"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        'side=internal point=before rule="ftp-nat/1 data" virtualservice="ftp-vs"\teth2',
        'side=internal point=after virtualservice="ftp-vs"\teth2',
        "side=external point=before\teth2",
    ]


def test_one_capture_per_engine(bench: Bench) -> None:
    job, tap = bench.start()
    assert bench.captures.start("se1", user="other", num_pkts=5) is job
    other = bench.captures.start("se2", user="admin")
    assert bench.captures.jobs() == [job, other]
    assert bench.captures.job("se1") is job
    assert bench.captures.job("se3") is None
    assert bench.captures.stop("se3") is None
    bench.captures.stop("se1")
    assert tap.closed
    assert (job.state, other.state) == ("ended", "running")
    assert bench.start()[0] is not job


def test_the_record(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=2, pkt_size=0, duration_min=0)
    tap.lost = 3
    tap.put(packet(), packet())
    list(job.subscribe())
    assert job.record() == {
        "engine": "se1",
        "user": "admin",
        "state": "ended",
        "reason": "the limit of 2 packets was reached",
        "file": str(job.file),
        "packets": 2,
        "bytes": job.file.stat().st_size,
        "lost": 3,
        "started": bench.now,
        "ended": bench.now,
        "limits": {"packets": 2, "bytes": 50_000_000, "minutes": None, "snaplen": 0},
    }
    assert bench.specs == [CaptureSpec("nat", 0)]
    assert tap.closed


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ((None, None, None), Limits(10_000, 50_000_000, 10, 256)),
        ((0, 0, 0), Limits(10_000, 50_000_000, None, 0)),
        ((500_000, 64, 60), Limits(500_000, 50_000_000, 60, 64)),
        ((None, 1514, 5), Limits(10_000, 50_000_000, 5, 1514)),
    ],
)
def test_own_limits_win(own: tuple[int | None, int | None, int | None], limits: Limits) -> None:
    assert Limits.of(*own) == limits


def test_the_limits_in_words() -> None:
    assert str(Limits.of(7, 0, 0)) == "7 packets or 50 MB, whole packets"
    assert str(Limits.of(7, 64, 5)) == "7 packets, 50 MB or 5 minutes, 64 bytes per packet"


@pytest.mark.parametrize(
    ("packets", "size", "seconds", "reason"),
    [
        (9_999, 49_999_999, 599.9, ""),
        (10_000, 0, 0, "the limit of 10000 packets was reached"),
        (0, 50_000_000, 0, "the limit of 50 MB was reached"),
        (0, 0, 600, "the limit of 10 minutes was reached"),
    ],
)
def test_the_limits(packets: int, size: int, seconds: float, reason: str) -> None:
    assert Limits.of(None, None, None).reached(packets, size, seconds) == reason


def test_time_runs_out_without_a_packet(bench: Bench) -> None:
    job, tap = bench.start()
    bench.now += 601
    tap.put(None)
    assert until(job.subscribe(), "ended")[-1]["reason"] == "the limit of 10 minutes was reached"


@pytest.mark.parametrize("fed", [[], [packet(data=bytes(60_000))] * 80])
def test_a_disk_that_is_nearly_full_ends_the_capture(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fed: list[Packet]
) -> None:
    free = iter([2**30] if fed else [])
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free, 60 * 2**20)))
    job, tap = bench.start()
    tap.put(*fed)
    assert until(job.subscribe(), "ended")[-1]["reason"] == f"less than 64 MB are free under {bench.folder}"
    assert job.packets < 80


def test_a_failing_disk_ends_the_capture_with_the_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job, tap = bench.start()

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job._writer, "write", full)
    tap.put(packet())
    assert "No space left on device" in until(job.subscribe(), "ended")[-1]["reason"]


@pytest.mark.parametrize(
    ("fed", "reason"),
    [
        (UnreachableError("the agent is gone"), "the capture failed: the agent is gone"),
        (FakeCapture.END, "the tap on se1 ended"),
    ],
)
def test_a_tap_that_dies_ends_the_capture(bench: Bench, fed: object, reason: str) -> None:
    job, tap = bench.start()
    tap.put(packet(), fed)
    assert until(job.subscribe(), "ended")[-1]["reason"] == reason
    assert job.packets == 1


def test_an_error_from_a_tap_that_is_being_stopped_is_no_failure(bench: Bench) -> None:
    job, tap = bench.start()
    tap.close = lambda: tap.put(UnreachableError("closed"))  # type: ignore[method-assign]
    bench.captures.stop("se1", "switched off")
    assert (job.state, job.reason) == ("ended", "switched off")


def test_the_first_reason_is_the_one(bench: Bench) -> None:
    job, tap = bench.start()
    closed = threading.Event()
    tap.close = closed.set  # type: ignore[method-assign]
    threading.Thread(target=job.stop, args=("first",)).start()
    assert closed.wait(HANG)
    threading.Thread(target=job.stop, args=("second",)).start()
    tap.put(UnreachableError("broken"))
    assert until(job.subscribe(), "ended")[-1]["reason"] == "first"


def test_an_engine_that_falls_silent_ends_the_capture_and_another_can_start(bench: Bench) -> None:
    job, tap = bench.start()
    tap.put(UnreachableError("the agent said nothing for 5 s"))
    assert "said nothing" in until(job.subscribe(), "ended")[-1]["reason"]
    assert bench.start()[0] is not job


def test_a_file_that_cannot_be_closed_does_not_leave_the_capture_running(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = bench.start()

    def refuse() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(job._writer, "close", refuse)
        bench.captures.stop("se1")
    job._writer.close()
    assert (job.state, job.reason) == ("ended", "stopped")


def test_a_stop_says_that_the_tap_could_not_be_removed(bench: Bench) -> None:
    job, tap = bench.start()

    def refuse() -> None:
        tap.put(FakeCapture.END)
        raise RefusedError("nft: no")

    tap.close = refuse  # type: ignore[method-assign]
    bench.captures.stop("se1")
    assert job.reason == "stopped (its tap could not be removed: nft: no)"


def test_a_tap_that_cannot_be_removed_is_said(bench: Bench) -> None:
    job, tap = bench.start()

    def refuse() -> None:
        raise RefusedError("nft: no")

    tap.close = refuse  # type: ignore[method-assign]
    tap.put(FakeCapture.END)
    assert until(job.subscribe(), "ended")[-1]["reason"].endswith("(its tap could not be removed: nft: no)")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_ends_the_capture_too(bench: Bench) -> None:
    job, tap = bench.start()
    tap.put(ZeroDivisionError())
    assert "internal error" in until(job.subscribe(), "ended")[-1]["reason"]
    job._thread.join(HANG)


@pytest.mark.parametrize(
    ("refusal", "error"), [(UnreachableError("gone"), UnavailableError), (RefusedError("nft: no"), ApplyError)]
)
def test_an_engine_that_refuses_leaves_no_file(bench: Bench, refusal: Exception, error: type[Exception]) -> None:
    bench.refusal = refusal
    with pytest.raises(error, match="se1"):
        bench.start()
    assert list(bench.folder.iterdir()) == []
    assert bench.captures.job("se1") is None
    bench.refusal = None
    bench.start()


def test_an_unknown_engine_leaves_no_file(bench: Bench) -> None:
    with pytest.raises(UnavailableError):
        bench.captures.start("nobody", user="admin")
    assert not bench.folder.exists()


def test_a_folder_that_cannot_be_made_is_said(bench: Bench) -> None:
    bench.folder.write_text("in the way")
    with pytest.raises(ApplyError, match="captures"):
        bench.start()


def test_nobody_looks_nothing_is_decoded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avish.controller.decode._dissect", lambda _: pytest.fail("decoded"))
    job, tap = bench.start(num_pkts=3)
    tap.put(packet(), packet(), packet())
    bench.captures.stop("se1")
    assert job.packets == 3


def test_a_slow_reader_loses_the_newest_with_a_count_and_the_file_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "QUEUE_LENGTH", 5)
    job, tap = bench.start(num_pkts=20)
    subscription = job.subscribe()
    tap.put(*[packet()] * 20)
    job._thread.join(HANG)
    assert kinds(subscription) == ["started", "packet", "packet", "packet", "packet", "dropped", "ended"]
    assert job.packets == 20


def test_what_was_dropped_is_told_before_newer_packets_and_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "QUEUE_LENGTH", 1)
    subscription = Subscription(lambda _: None)
    for number in range(4):
        subscription.offer({"event": "packet", "number": number})
    assert next(subscription)["number"] == 0
    assert next(subscription) == {"event": "dropped", "count": 3}
    subscription.offer({"event": "packet", "number": 4})
    assert next(subscription)["number"] == 4


def test_an_idle_event_when_nothing_happens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "IDLE_SECONDS", 0.01)
    job, _ = bench.start()
    assert [event["event"] for event in until(job.subscribe(), "idle")] == ["started", "idle"]


def test_a_subscriber_that_leaves_does_not_end_the_capture(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=1)
    leaving, staying = job.subscribe(), job.subscribe()
    next(leaving)
    waiting = threading.Thread(target=lambda: list(leaving))
    waiting.start()
    leaving.close()
    leaving.close()
    waiting.join(HANG)
    assert not waiting.is_alive()
    tap.put(packet())
    assert kinds(staying) == ["started", "packet", "ended"]


def test_who_comes_after_the_end_sees_start_and_end(bench: Bench) -> None:
    job, _ = bench.start()
    bench.captures.stop("se1")
    assert kinds(job.subscribe()) == ["started", "ended"]


def test_names_follow_the_configuration(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=4)
    subscription = job.subscribe()
    tap.put(packet(), packet())
    until(subscription, "packet")
    until(subscription, "packet")
    assert bench.described == [NAT_MARK | 1]
    bench.now += 2
    tap.put(packet(), packet())
    until(subscription, "ended")
    assert bench.described == [NAT_MARK | 1] * 2


def test_shutdown_ends_all(bench: Bench) -> None:
    jobs = [bench.captures.start(name, user="admin") for name in ("se1", "se2")]
    bench.captures.shutdown()
    assert {(job.state, job.reason) for job in jobs} == {("ended", "the controller was shut down")}

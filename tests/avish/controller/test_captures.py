"""Capture jobs: files, limits, subscribers; the tap is a fake fed by hand."""

from __future__ import annotations

import base64
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scapy.layers.inet import IP, TCP

from avish.config.config import Config
from avish.config.ids import Ids
from avish.controller import capture_files as files_module
from avish.controller import subscription as subscription_module
from avish.controller.capture_files import Folder
from avish.controller.capture_job import CaptureJob
from avish.controller.captures import Captures
from avish.controller.decode import Names, side_of
from avish.controller.limits import Limits
from avish.controller.subscription import Subscription
from avish.controller.wanted import ENGINE, SERVICE, Wanted
from avish.errors import ApplyError, UnavailableError
from dataplane.driver import Driver
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import NAT_MARK
from dataplane.pcapng import Entry, PcapngEncoder, each_packet
from dataplane.taps import Batch, Blocks, CaptureSpec, Packet, PacketMatch, Port

HANG = 20.0
DATA = bytes(IP(src="10.10.40.101", dst="10.10.20.100") / TCP(sport=20, dport=40123, flags="S"))
NAMES = {NAT_MARK | 1: Names("ftp-nat/1 data", "ftp-vs"), 7: Names("", "ftp-vs", "ftp-pool", "10.10.40.101:21")}
KEY = (ENGINE, "debugserviceengine-se1")
NOW = 1_700_000_000


def packet(mark: int = NAT_MARK | 1, data: bytes = DATA, point: str = "before", ns: int = NOW * 10**9) -> Packet:
    return Packet(ns, point, "original", mark, "eth2", len(data), data)  # type: ignore[arg-type]


def wanted(name: str = "se1", *engines: str, **params: Any) -> Wanted:
    spec = CaptureSpec(("nat",))
    return Wanted(
        (ENGINE, f"debugserviceengine-{name}"), name, "admin", engines or (name,), spec, f"se_nat_{name}", "NAT", params
    )


class FakeCapture:
    """Gives what is put; an exception is raised, None is idleness, ``close`` ends it behind what was put."""

    END = object()

    def __init__(self) -> None:
        self.lost = 0
        self.closed = 0
        self.fed: queue.Queue[object] = queue.Queue()

    def put(self, *items: object) -> None:
        for item in items:
            self.fed.put(Batch([item]) if isinstance(item, Packet) else item)

    def __iter__(self) -> Iterator[Batch | None]:
        while (item := self.fed.get(timeout=HANG)) is not self.END:
            if isinstance(item, Exception):
                raise item
            yield cast("Batch | None", item)

    def close(self) -> None:
        self.closed += 1
        self.put(self.END)


class Bench:
    """A Captures with fake engines and a clock set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = float(NOW)
        self.taps: list[FakeCapture] = []
        self.specs: list[CaptureSpec] = []
        self.refusal: Exception | None = None
        self.described: list[int] = []
        self.properties: dict[str, Any] = {}
        config = cast("Config", SimpleNamespace(get=lambda *_: self.properties))
        self.captures = Captures(
            Folder(folder, lambda: self.now), self.driver_for, lambda: (config, Ids()), lambda: self.now
        )
        self.captures._describe = self.describe  # type: ignore[method-assign]

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

    def describe(self, mark: int, server: tuple[str, int] | None) -> Names:
        self.described.append(mark)
        return NAMES.get(mark, Names())

    def start(self, **params: Any) -> tuple[CaptureJob, FakeCapture]:
        job = self.captures.start(wanted(**params), "admin")
        return job, self.taps[-1]

    def stop(self, reason: str = "stopped") -> None:
        self.captures.stop(KEY, reason)


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
    return [event["event"] for event in subscription if event["event"] != "status"]


def test_packets_go_to_the_file_and_to_the_subscriber(bench: Bench) -> None:
    job, tap = bench.start()
    subscription = job.subscribe()
    tap.put(packet(), None, packet(7, point="after"))
    events = until(subscription, "packet")
    assert events[0] == {
        "event": "started",
        "engine": "se1",
        "title": "NAT",
        "file": str(job.files.file),
        "limits": "10000 packets or 10 minutes, 256 bytes per packet, 2 files of 50 MB",
    }
    assert "internal before ftp-nat/1 ftp-vs    -                  TCP" in events[-1]["line"]
    assert events[-1]["rule"] == "ftp-nat/1 data"
    assert (events[-1]["src"], events[-1]["sport"], events[-1]["flags"]) == ("10.10.40.101", 20, "S")
    bench.stop()
    ended = until(subscription, "ended")[-1]
    assert {key: ended[key] for key in ("reason", "packets", "lost", "queue", "screen")} == {
        "reason": "stopped",
        "packets": 2,
        "lost": 0,
        "queue": 0,
        "screen": 0,
    }
    with pytest.raises(StopIteration):
        next(subscription)


def test_the_file_its_name_and_who_may_read_it(bench: Bench) -> None:
    job, _ = bench.start()
    bench.captures.shutdown()
    assert job.files.file.parent == bench.folder
    assert re.fullmatch(r"se_nat_se1_202311\d\d_\d{6}\.pcapng", job.files.file.name)
    assert bench.folder.stat().st_mode & 0o777 == 0o700
    assert job.files.file.stat().st_mode & 0o777 == 0o600


def test_two_captures_within_a_second_have_two_files(bench: Bench) -> None:
    first, _ = bench.start()
    bench.stop()
    second, _ = bench.start()
    assert first.files.file != second.files.file
    assert first.files.file.exists()


def test_the_comments_in_tshark(bench: Bench) -> None:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    job, tap = bench.start()
    tap.put(packet(), packet(7, point="after"), packet(99))
    bench.stop()
    done = subprocess.run(
        ["tshark", "-r", str(job.files.file), "-T", "fields", "-e", "frame.comment", "-e", "frame.interface_name"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        'side=internal point=before rule="ftp-nat/1 data" virtualservice="ftp-vs"\teth2',
        'side=internal point=after virtualservice="ftp-vs" pool="ftp-pool" server="10.10.40.101:21"\teth2',
        "side=external point=before\teth2",
    ]


def test_one_capture_per_object(bench: Bench) -> None:
    job, tap = bench.start()
    assert bench.captures.start(wanted(num_pkts=5), "other") is job
    other = bench.captures.start(wanted("se2"), "admin")
    assert bench.captures.jobs() == [job, other]
    assert bench.captures.job(KEY) is job
    assert bench.captures.job((ENGINE, "x")) is None
    assert bench.captures.stop((ENGINE, "x")) is None
    bench.stop()
    assert tap.closed
    assert (job.state, other.state) == ("ended", "running")
    assert bench.start()[0] is not job


def test_the_record(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=2, pkt_size=0, duration=0)
    tap.lost = 3
    tap.put(packet(), packet())
    list(job.subscribe())
    record = job.record()
    assert {
        key: record[key] for key in ("subject", "engine", "user", "state", "reason", "packets", "bytes", "lost")
    } == {
        "subject": "serviceengine se1",
        "engine": "se1",
        "user": "admin",
        "state": "ended",
        "reason": "the limit of 2 packets was reached",
        "packets": 2,
        "bytes": job.files.file.stat().st_size,
        "lost": 3,
    }
    assert record["limits"] == {"packets": 2, "bytes": 50_000_000, "minutes": None, "snaplen": 0, "files": 2}
    assert [spec.snaplen for spec in bench.specs] == [0]
    assert tap.closed


@pytest.mark.parametrize(
    ("own", "limits"),
    [
        ({}, Limits(10_000, 50_000_000, 10, 256, 2)),
        ({"num_pkts": 0, "pkt_size": 0, "duration": 0}, Limits(None, 50_000_000, None, 0, 2)),
        (
            {"num_pkts": 500_000, "pkt_size": 64, "duration": 60, "file_count": 1},
            Limits(500_000, 50_000_000, 60, 64, 1),
        ),
        ({"capture_file_size": {"absolute_size": 100, "percentage_size": 10}}, Limits(bytes=100_000_000)),
        ({"capture_file_size": {"absolute_size": 100, "percentage_size": 50}}, Limits(bytes=400_000_000)),
        ({"pcap_ng": False}, Limits(pcapng=False)),
    ],
)
def test_own_limits_win(own: dict[str, Any], limits: Limits) -> None:
    assert Limits.of(own, 800_000_000) == limits


def test_the_limits_in_words() -> None:
    assert str(Limits(7, minutes=None, snaplen=0, files=1)) == "7 packets or 50 MB, whole packets"
    assert str(Limits(None, minutes=None)) == "until stopped, 256 bytes per packet, 2 files of 50 MB"
    assert str(Limits(7, minutes=5, snaplen=64)) == "7 packets or 5 minutes, 64 bytes per packet, 2 files of 50 MB"


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
    assert Limits(files=1).reached(packets, size, seconds) == reason


def test_without_limits_nothing_ends_it() -> None:
    free = Limits.of({"num_pkts": 0, "duration": 0})
    assert (free.reached(10**9, 10**12, 10**6), free.left(10**6, 10**6)) == ("", "no limit")


def test_a_capture_without_limits_keeps_more_than_the_built_in_number(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=0)
    tap.put(Batch([packet()] * 10_001))
    job.stop("off")
    assert (job.packets, job.record()["limits"]["packets"]) == (10_001, None)


def test_data_that_no_rule_translated_says_so(bench: Bench) -> None:
    asked = replace(wanted(), key=(SERVICE, "debugvirtualservice-v"), name="ftp-vs")
    job = bench.captures.start(asked, "admin")
    names = [job._names(packet(0, point=point), b"") for point in ("before", "sent")]
    assert [(one.rule, one.virtualservice) for one in names] == [("no NAT rule", "ftp-vs"), ("", "ftp-vs")]
    assert [side_of(packet(0, point=point)) for point in ("before", "after")] == ["internal", "external"]


def test_time_runs_out_without_a_packet(bench: Bench) -> None:
    job, tap = bench.start()
    bench.now += 601
    tap.put(None)
    assert until(job.subscribe(), "ended")[-1]["reason"] == "the limit of 10 minutes was reached"


def test_a_disk_that_becomes_full_ends_the_capture(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([2**30] * 3)
    monkeypatch.setattr(files_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free, 60 * 2**20)))
    job, tap = bench.start(pkt_size=0)
    tap.put(*[packet(data=bytes(60_000))] * 200)
    assert until(job.subscribe(), "ended")[-1]["reason"] == f"less than 64 MB are free under {bench.folder}"
    assert job.packets < 200


def test_a_disk_that_is_nearly_full_refuses_the_capture(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=60 * 2**20))
    with pytest.raises(ApplyError, match="less than 64 MB are free"):
        bench.start()
    assert bench.taps == []


def test_a_failing_disk_ends_the_capture_with_the_reason(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job, tap = bench.start()

    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job.files, "append", full)
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
    bench.stop("switched off")
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
        patched.setattr(job.files, "close", refuse)
        bench.stop()
    job.files.close()
    assert (job.state, job.reason) == ("ended", "stopped")


def test_a_stop_says_that_the_tap_could_not_be_removed(bench: Bench) -> None:
    job, tap = bench.start()

    def refuse() -> None:
        tap.put(FakeCapture.END)
        raise RefusedError("nft: no")

    tap.close = refuse  # type: ignore[method-assign]
    bench.stop()
    assert job.reason == "stopped (the tap on se1 could not be removed: nft: no)"


def test_a_tap_that_cannot_be_removed_is_said(bench: Bench) -> None:
    job, tap = bench.start()

    def refuse() -> None:
        raise RefusedError("nft: no")

    tap.close = refuse  # type: ignore[method-assign]
    tap.put(FakeCapture.END)
    assert until(job.subscribe(), "ended")[-1]["reason"].endswith("(the tap on se1 could not be removed: nft: no)")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_ends_the_capture_too(bench: Bench) -> None:
    job, tap = bench.start()
    tap.put(ZeroDivisionError())
    assert "internal error" in until(job.subscribe(), "ended")[-1]["reason"]
    job._threads[0].join(HANG)


@pytest.mark.parametrize(
    ("refusal", "error"), [(UnreachableError("gone"), UnavailableError), (RefusedError("nft: no"), ApplyError)]
)
def test_an_engine_that_refuses_leaves_no_file(bench: Bench, refusal: Exception, error: type[Exception]) -> None:
    bench.refusal = refusal
    with pytest.raises(error, match="se1"):
        bench.start()
    assert list(bench.folder.iterdir()) == []
    assert bench.captures.job(KEY) is None
    bench.refusal = None
    bench.start()


def test_an_unknown_engine_leaves_no_file(bench: Bench) -> None:
    with pytest.raises(UnavailableError):
        bench.captures.start(wanted("nobody"), "admin")
    assert not bench.folder.exists()


def test_a_folder_that_cannot_be_made_is_said(bench: Bench) -> None:
    bench.folder.write_text("in the way")
    with pytest.raises(ApplyError, match="captures"):
        bench.start()


def test_nobody_looks_nothing_is_decoded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avish.controller.decode._dissect", lambda _: pytest.fail("decoded"))
    job, tap = bench.start(num_pkts=3)
    tap.put(packet(), packet(), packet())
    bench.stop()
    assert job.packets == 3


def test_a_slow_reader_loses_the_newest_with_a_count_and_the_file_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "QUEUE_LENGTH", 5)
    job, tap = bench.start(num_pkts=20)
    subscription = job.subscribe()
    tap.put(*[packet()] * 20)
    job._threads[0].join(HANG)
    events = [event for event in subscription if event["event"] != "status"]
    assert [event["event"] for event in events] == ["started", *["packet"] * 4, "ended"]
    assert events[-1]["queue"] == 16
    assert job.packets == 20


def test_nobody_is_shown_more_lines_than_can_be_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "LINES_PER_SECOND", 5)
    job, tap = bench.start(num_pkts=20)
    subscription = job.subscribe()
    tap.put(Batch([packet()] * 20))
    ended = until(subscription, "ended")
    assert (ended[-1]["screen"], ended[-1]["queue"], job.files.packets) == (15, 0, 20)


def test_a_status_comes_also_when_nothing_happens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "STATUS_SECONDS", 0.01)
    job, tap = bench.start()
    tap.put(packet())
    status = until(job.subscribe(), "status")[-1]
    while not status["seen"]:
        status = until(job.subscribe(), "status")[-1]
    assert (status["kept"], status["lost"], status["queue"], status["screen"]) == (1, 0, 0, 0)
    assert status["left"].startswith("9999 packets or ")


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
    bench.stop()
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
    jobs = [bench.captures.start(wanted(name), "admin") for name in ("se1", "se2")]
    bench.captures.shutdown()
    assert {(job.state, job.reason) for job in jobs} == {("ended", "the controller was shut down")}


def file_packets(path: Path) -> list[tuple[int, bytes]]:
    return [(one.ns, one.data) for one in each_packet(path.read_bytes())]


def blocks(count: int, name: str = "eth1") -> Blocks:
    encoder = PcapngEncoder()
    header = encoder.packets([Entry(Port(name, 1), "", 0, b"", 0)])
    data = encoder.packets([Entry(Port(name, 1), "", n, DATA + bytes([n]), 41) for n in range(count)])
    assert header
    return Blocks(data, count, (Port(name, 1),))


def test_blocks_of_interfaces_go_to_the_file_as_they_are_and_no_further_than_the_limit(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=7)
    reader = job.subscribe()
    tap.put(Batch([], blocks(5)), Batch([], blocks(5)))
    until(reader, "ended")
    assert [ns for ns, _ in file_packets(job.files.file)] == [0, 1, 2, 3, 4, 0, 1]
    assert job.packets == 7


def test_files_turn_and_the_oldest_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avish.controller.limits.DEFAULT_BYTES", 1000)
    job, tap = bench.start(file_count=3)
    tap.put(*[packet(data=DATA + bytes([n])) for n in range(60)])
    bench.stop()
    assert len(job.files.paths) == 3
    kept = [data[-1] for path in job.files.paths for _, data in file_packets(path)]
    assert kept == list(range(60 - len(kept), 60))
    assert (job.packets, job.files.kept) == (60, len(kept))
    names = {path.name for path in bench.folder.glob("*.pcapng")}
    assert names == {path.name for path in job.files.paths}
    first = bench.captures.folder.latest(KEY)
    assert first is not None
    assert set(first.files) == names
    told = list(bench.captures.folder.download(first))
    assert told[0]["size"] == sum(len(base64.b64decode(part["data"])) for part in told[1:])
    whole = b"".join(base64.b64decode(part["data"]) for part in told[1:])
    assert [one.data[-1] for one in each_packet(whole)] == kept


def test_plain_pcap_holds_the_packets_behind_an_ethernet_header(bench: Bench) -> None:
    job, tap = bench.start(pcap_ng=False)
    tap.put(packet(), Batch([], blocks(1)))
    bench.stop()
    assert job.files.file.suffix == ".pcap"
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    done = subprocess.run(
        ["tshark", "-r", str(job.files.file), "-T", "fields", "-e", "ip.src", "-e", "tcp.srcport"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines()[0] == "10.10.40.101\t20"


def test_packets_of_several_engines_are_in_the_order_of_time(bench: Bench) -> None:
    job = bench.captures.start(wanted("vs", "se1", "se2"), "admin")
    one, other = bench.taps
    one.put(*[packet(ns=n, data=DATA + bytes([n])) for n in (1, 4, 5)])
    other.put(*[packet(ns=n, data=DATA + bytes([n])) for n in (2, 3, 6)])
    bench.captures.shutdown()
    assert [ns for ns, _ in file_packets(job.files.file)] == [1, 2, 3, 4, 5, 6]


def test_late_packets_are_put_in_order_at_the_end(bench: Bench) -> None:
    job, tap = bench.start()
    tap.put(packet(ns=5), packet(ns=9), packet(ns=2))
    bench.stop()
    assert [ns for ns, _ in file_packets(job.files.file)] == [2, 5, 9]


def test_an_engine_that_goes_does_not_end_the_capture_of_the_others(bench: Bench) -> None:
    job = bench.captures.start(wanted("vs", "se1", "se2"), "admin")
    one, other = bench.taps
    reader = job.subscribe()
    one.put(UnreachableError("gone"))
    assert until(reader, "note")[-1]["text"] == "no more packets from se1: the capture failed: gone"
    other.put(packet())
    bench.captures.shutdown()
    assert (job.packets, job.reason) == (1, "the controller was shut down")


def test_an_engine_that_does_not_answer_is_told_and_the_others_begin(bench: Bench) -> None:
    def capture(_: CaptureSpec) -> FakeCapture:
        raise UnreachableError("no agent")

    away = cast("Driver", SimpleNamespace(capture=capture))
    real = bench.driver_for
    bench.captures._driver_for = lambda name: away if name == "se2" else real(name)
    job = bench.captures.start(wanted("vs", "se1", "se2"), "admin")
    assert job.notes == ["no packets from se2: it does not answer (no agent)"]
    with pytest.raises(UnavailableError, match="se2"):
        bench.captures.start(wanted("other", "se2"), "admin")


def test_a_filter_that_matches_nothing_is_told_after_ten_seconds(bench: Bench) -> None:
    asked = wanted()
    filtered = replace(asked, spec=CaptureSpec(("nat",), matches=(PacketMatch(tcp=True),)))
    job = bench.captures.start(filtered, "admin")
    reader = job.subscribe()
    bench.now += 9
    bench.taps[-1].put(None)
    bench.now += 2
    bench.taps[-1].put(None, None)
    assert "10 s and no packet has matched the filter so far" in until(reader, "note")[-1]["text"]
    assert len(job.notes) == 1


def test_the_oldest_captures_of_a_tenant_go_when_there_are_too_many(bench: Bench) -> None:
    bench.properties = {"max_pcap_per_tenant": 2}
    jobs = []
    for _ in range(4):
        bench.now += 1
        jobs.append(bench.start()[0])
        bench.stop()
    there = [job.files.file.exists() for job in jobs]
    assert there == [False, False, True, True]
    assert len(list(bench.folder.iterdir())) == 4  # two files, two notes


def test_a_capture_that_runs_is_never_removed(bench: Bench) -> None:
    bench.properties = {"max_pcap_per_tenant": 1}
    running, tap = bench.start()
    bench.now += 1
    other = bench.captures.start(wanted("se2"), "admin")
    tap.put(packet())
    bench.captures.shutdown()
    assert running.files.file.exists()
    assert other.files.file.exists()


def test_a_live_file_has_the_packets_from_now_on(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=3)
    export = job.export()
    tap.put(packet(), packet(7), Batch([], blocks(1)))
    data = b"".join(base64.b64decode(event["data"]) for event in export if event["event"] == "data")
    assert [one.data for one in each_packet(data)] == [DATA, DATA, DATA + b"\0"]
    assert b'rule="ftp-nat/1 data"' in data


def test_a_live_file_that_nobody_reads_is_bounded_and_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription_module, "EXPORT_BYTES", 100)
    job, tap = bench.start(num_pkts=3)
    export = job.export()
    tap.put(packet(), packet(), packet())
    job._threads[0].join(HANG)
    assert export.dropped == 2
    assert job.packets == 3


def test_ports_of_an_interface_only(bench: Bench) -> None:
    job, tap = bench.start(num_pkts=2)
    reader = job.subscribe("eth1")
    tap.put(packet(), packet()._replace(interface="eth1"))
    events = until(reader, "ended")
    assert [event["interface"] for event in events if event["event"] == "packet"] == ["eth1"]


def test_what_is_kept_is_found_after_a_restart(bench: Bench) -> None:
    job, tap = bench.start()
    tap.put(packet())
    bench.stop()
    again = Folder(bench.folder, lambda: bench.now).latest(KEY)
    assert again is not None
    assert again.files == (job.files.file.name,)

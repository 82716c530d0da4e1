"""Captures: a thread per running one writes the file; sessions that subscribed see the packets, lossy with a count."""

from __future__ import annotations

import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from avish.controller.decode import Sighting
from avish.errors import ApplyError, UnavailableError
from dataplane.driver import Capture, Driver
from dataplane.errors import DataplaneError, UnreachableError
from dataplane.model import CaptureSpec, Packet
from dataplane.pcapng import PcapngWriter

DEFAULT_PACKETS = 10_000
DEFAULT_BYTES = 50_000_000
DEFAULT_MINUTES = 10
DISK_RESERVE = 64 * 2**20
"""A capture ends rather than leave less than this free on its disk."""
QUEUE_LENGTH = 1000
"""Events a subscriber may be behind before newer packets are dropped for it."""
IDLE_SECONDS = 1.0
_DISK_CHECK_BYTES = 4_000_000
_DISK_CHECK_SECONDS = 1.0
_STOP_SECONDS = 5.0

Describe = Callable[[int], Mapping[str, str]]
"""From a conntrack mark to "rule" ("policy/index name") and "virtualservice"; either may be absent or empty."""
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a capture ends, whichever comes first; None: no such limit. ``snaplen``: bytes kept per packet, 0 all."""

    packets: int | None
    bytes: int | None
    minutes: int | None
    snaplen: int

    @classmethod
    def of(cls, num_pkts: int | None, pkt_size: int | None, duration_min: int | None) -> Limits:
        """The user's own limits over the defaults: None leaves a default; an own ``num_pkts`` also lifts the byte limit;
        ``duration_min`` 0 runs until stopped, ``num_pkts`` 0 is as good as none, ``pkt_size`` 0 keeps packets whole.
        """
        return cls(
            packets=num_pkts or DEFAULT_PACKETS,
            bytes=None if num_pkts else DEFAULT_BYTES,
            minutes=DEFAULT_MINUTES if duration_min is None else duration_min or None,
            snaplen=CaptureSpec("nat").snaplen if pkt_size is None else pkt_size,
        )

    def reached(self, packets: int, size: int, seconds: float) -> str:
        """In words, which limit is reached; "" while none is."""
        if self.packets is not None and packets >= self.packets:
            return f"the limit of {self.packets} packets was reached"
        if self.bytes is not None and size >= self.bytes:
            return f"the limit of {self.bytes // 1_000_000} MB was reached"
        if self.minutes is not None and seconds >= self.minutes * 60:
            return f"the limit of {self.minutes} minutes was reached"
        return ""

    def as_dict(self) -> dict[str, int | None]:
        return {"packets": self.packets, "bytes": self.bytes, "minutes": self.minutes, "snaplen": self.snaplen}


class Subscription:
    """The events of a job for one reader, from now on; ends after the "ended" event or ``close``.

    Events: {"event": "started", "engine", "file", "limits"}, "packet" (see ``Sighting.event``), {"event": "dropped",
    "count"} where the reader was too slow, {"event": "idle"} every second without another, {"event": "ended",
    "reason", "packets", "lost", "file"}. Decoding happens in the reader's thread.
    """

    def __init__(self, on_close: Callable[[Subscription], None]) -> None:
        self._on_close = on_close
        self._queue: deque[Event | Sighting] = deque()
        self._changed = threading.Condition()
        self._dropped = 0
        self._complete = False
        self._closed = False

    def offer(self, item: Event | Sighting) -> None:
        """Queue ``item``, or count it as dropped while the queue is full."""
        with self._changed:
            if len(self._queue) >= QUEUE_LENGTH:
                self._dropped += 1
                return
            self._queue_dropped()
            self._queue.append(item)
            self._changed.notify()

    def finish(self, ended: Event) -> None:
        """Queue the last event, whatever the queue holds."""
        with self._changed:
            self._queue_dropped()
            self._queue.append(ended)
            self._complete = True
            self._changed.notify()

    def close(self) -> None:
        """End the iteration, also one that waits in another thread; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._on_close(self)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        item = self._next()
        return item.event if isinstance(item, Sighting) else item

    def _next(self) -> Event | Sighting:
        with self._changed:
            self._changed.wait_for(self._has_something, IDLE_SECONDS)
            if self._closed or (self._complete and not self._queue):
                raise StopIteration
            if not self._queue:
                self._queue_dropped()
            return self._queue.popleft() if self._queue else {"event": "idle"}

    def _has_something(self) -> bool:
        return bool(self._queue) or self._dropped > 0 or self._complete or self._closed

    def _queue_dropped(self) -> None:
        if self._dropped:
            self._queue.append({"event": "dropped", "count": self._dropped})
            self._dropped = 0


class CaptureJob:
    """A capture on one engine, running or ended; the attributes are its record.

    ``state`` "running" or "ended" (then with ``reason`` and ``ended``), ``started`` and ``ended`` in seconds since the
    epoch, ``packets`` and ``bytes`` in ``file``, ``lost``: packets the kernel or the way from the engine dropped.
    """

    def __init__(  # noqa: PLR0913
        self,
        engine: str,
        user: str,
        limits: Limits,
        capture: Capture,
        writer: PcapngWriter,
        describe: Describe,
        clock: Callable[[], float],
    ) -> None:
        self.engine = engine
        self.user = user
        self.limits = limits
        self.file = writer.path
        self.state = "running"
        self.reason = ""
        self.lost = 0
        self.started = clock()
        self.ended: float | None = None
        self._capture = capture
        self._writer = writer
        self._describe = describe
        self._clock = clock
        self._names: dict[int, tuple[str, str]] = {}
        self._stop_reason = ""
        self._checked = (self.started, 0)
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._thread = threading.Thread(target=self._run, name=f"capture-{engine}", daemon=True)
        self._thread.start()

    @property
    def packets(self) -> int:
        return self._writer.packets

    @property
    def bytes(self) -> int:
        return self._writer.size

    def record(self) -> dict[str, Any]:
        """Keys: engine, user, state, reason, file, packets, bytes, lost, started, ended, limits."""
        return {
            "engine": self.engine,
            "user": self.user,
            "state": self.state,
            "reason": self.reason,
            "file": str(self.file),
            "packets": self.packets,
            "bytes": self.bytes,
            "lost": self.lost,
            "started": self.started,
            "ended": self.ended,
            "limits": self.limits.as_dict(),
        }

    def subscribe(self) -> Subscription:
        """Follow the job; of one that has ended, its start and its end."""
        subscription = Subscription(self._forget)
        subscription.offer(
            {"event": "started", "engine": self.engine, "file": str(self.file), "limits": self.limits.as_dict()}
        )
        with self._lock:
            if self.state == "ended":
                subscription.finish(self._ended_event())
            else:
                self._subscriptions.append(subscription)
        return subscription

    def stop(self, reason: str) -> None:
        """End the capture, with the packets tapped so far in the file; waits for that at most a few seconds."""
        self._stop_reason = self._stop_reason or reason
        self._capture.close()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        reason = "an internal error, see the log of the controller"
        try:
            reason = self._record()
        except (DataplaneError, OSError) as error:
            reason = self._stop_reason or f"the capture failed: {error}"
        finally:
            self._capture.close()
            self._writer.close()
            self._end(reason)

    def _record(self) -> str:
        """Write packets until something ends the capture; says what."""
        reason = self._disk_full()
        if reason:
            return reason
        for packet in self._capture:
            if packet is not None:
                self._take(packet)
            self.lost = self._capture.lost
            reason = self._over(idle=packet is None)
            if reason:
                return reason
        return self._stop_reason or f"the tap on {self.engine} ended"

    def _take(self, packet: Packet) -> None:
        rule, virtualservice = self._named(packet.mark)
        sighting = Sighting(self.engine, packet, rule, virtualservice)
        self._writer.write(
            interface=packet.interface,
            time=packet.time,
            data=packet.data,
            length=packet.length,
            comment=sighting.comment,
            outbound=packet.point == "after",
        )
        with self._lock:
            for subscription in self._subscriptions:
                subscription.offer(sighting)

    def _named(self, mark: int) -> tuple[str, str]:
        """Rule and virtual service of a mark, asked for again every second: the configuration may change."""
        names = self._names.get(mark)
        if names is None:
            found = self._describe(mark)
            names = self._names[mark] = (found.get("rule") or "", found.get("virtualservice") or "")
        return names

    def _over(self, *, idle: bool) -> str:
        if idle and self._stop_reason:
            return self._stop_reason
        now, size = self._clock(), self.bytes
        checked_at, checked_size = self._checked
        if now - checked_at >= _DISK_CHECK_SECONDS or size - checked_size >= _DISK_CHECK_BYTES:
            self._checked = (now, size)
            self._names.clear()
            return self._disk_full() or self.limits.reached(self.packets, size, now - self.started)
        return self.limits.reached(self.packets, size, now - self.started)

    def _disk_full(self) -> str:
        if shutil.disk_usage(self.file.parent).free >= DISK_RESERVE:
            return ""
        return f"less than {DISK_RESERVE // 2**20} MB are free under {self.file.parent}"

    def _end(self, reason: str) -> None:
        with self._lock:
            self.lost = self._capture.lost
            self.reason = reason
            self.ended = self._clock()
            self.state = "ended"
            for subscription in self._subscriptions:
                subscription.finish(self._ended_event())
            self._subscriptions.clear()

    def _ended_event(self) -> Event:
        return {
            "event": "ended",
            "reason": self.reason,
            "packets": self.packets,
            "lost": self.lost,
            "file": str(self.file),
        }

    def _forget(self, subscription: Subscription) -> None:
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)


class Captures:
    """The capture jobs of all engines, at most one running per engine; the files are in ``folder``."""

    def __init__(
        self, folder: Path, driver_for: Callable[[str], Driver], describe: Describe, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._driver_for = driver_for
        self._describe = describe
        self._clock = clock
        self._jobs: dict[str, CaptureJob] = {}
        self._starting = threading.Lock()

    def start(
        self,
        se_name: str,
        *,
        user: str,
        num_pkts: int | None = None,
        pkt_size: int | None = None,
        duration_min: int | None = None,
    ) -> CaptureJob:
        """Start a NAT capture, or give the one that runs already. The tap is in place on return.

        Limits: see ``Limits.of``. Raises UnavailableError when the engine does not answer, ApplyError when it refuses
        the tap or the file cannot be made.
        """
        with self._starting:
            running = self._jobs.get(se_name)
            if running is not None and running.state == "running":
                return running
            limits = Limits.of(num_pkts, pkt_size, duration_min)
            driver = self._driver_for(se_name)
            writer = self._new_file(se_name, limits.snaplen)
            try:
                capture = driver.capture(CaptureSpec("nat", limits.snaplen))
            except DataplaneError as error:
                writer.close()
                writer.path.unlink()
                raise _translated(se_name, error) from error
            job = CaptureJob(se_name, user, limits, capture, writer, self._describe, self._clock)
            self._jobs[se_name] = job
            return job

    def stop(self, se_name: str, reason: str = "stopped") -> CaptureJob | None:
        """End the capture of an engine; gives its job, None if there never was one."""
        job = self._jobs.get(se_name)
        if job is not None and job.state == "running":
            job.stop(reason)
        return job

    def job(self, se_name: str) -> CaptureJob | None:
        """The latest capture of an engine, running or ended."""
        return self._jobs.get(se_name)

    def jobs(self) -> list[CaptureJob]:
        """The latest capture of each engine that had one."""
        return list(self._jobs.values())

    def shutdown(self) -> None:
        """End all captures."""
        for se_name in list(self._jobs):
            self.stop(se_name, "the controller was shut down")

    def _new_file(self, se_name: str, snaplen: int) -> PcapngWriter:
        stamp = datetime.fromtimestamp(self._clock()).strftime("%Y%m%d_%H%M%S")
        stem = f"se_nat_{re.sub(r'[^A-Za-z0-9.-]', '_', se_name)}_{stamp}"
        comment = f"NAT capture of service engine {se_name}, before and after translation"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            return PcapngWriter(_unused(self._folder, stem), snaplen=snaplen, comment=comment)
        except OSError as error:
            raise ApplyError(f"the capture file cannot be made under {self._folder}: {error.strerror}") from error


def _unused(folder: Path, stem: str) -> Path:
    """A path of no file yet: two captures may start within a second."""
    path, number = folder / f"{stem}.pcapng", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}_{number}.pcapng"
    return path


def _translated(se_name: str, error: DataplaneError) -> UnavailableError | ApplyError:
    if isinstance(error, UnreachableError):
        return UnavailableError(f"service engine {se_name} does not answer: {error}")
    return ApplyError(f"service engine {se_name} refused the capture: {error}")

"""Captures: a thread per running one writes the file; sessions that subscribed see the packets, lossy with a count."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avish.controller.decode import Sighting, comment
from avish.controller.limits import Limits
from avish.controller.subscription import Event, Subscription
from avish.errors import ApplyError, UnavailableError
from dataplane.driver import Capture, Driver
from dataplane.errors import DataplaneError, UnreachableError
from dataplane.model import CaptureSpec, Packet
from dataplane.pcapng import PcapngWriter

_LOG = logging.getLogger(__name__)

DISK_RESERVE = 64 * 2**20
"""A capture ends rather than leave less than this free on its disk."""
_DISK_CHECK_BYTES = 4_000_000
_DISK_CHECK_SECONDS = 1.0
_STOP_SECONDS = 8.0
"""More than a tap may be silent: with the tap of an engine that has frozen, the capture ends too."""

Describe = Callable[[int], Mapping[str, str]]
"""From a conntrack mark to "rule" ("policy/index name") and "virtualservice"; either may be absent or empty."""


class CaptureJob:
    """A capture on one engine, running or ended; the attributes are its record.

    ``state`` "running" or "ended" (then with ``reason`` and ``ended``), ``started`` and ``ended`` in seconds since the
    epoch, ``packets`` and ``bytes`` in ``file``, ``lost``: packets the kernel or the way from the engine dropped.
    It runs from ``start`` on.
    """

    def __init__(
        self,
        *,
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
        self._known: dict[tuple[int, str, str], tuple[str, str, str]] = {}
        self._why = ""
        self._trouble = ""
        self._checked = (self.started, 0)
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._thread = threading.Thread(target=self._run, name=f"capture-{engine}", daemon=True)

    def start(self) -> None:
        """Begin to read the tap; once."""
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
            {"event": "started", "engine": self.engine, "file": str(self.file), "limits": str(self.limits)}
        )
        with self._lock:
            if self.state == "ended":
                subscription.finish(self._ended_event())
            else:
                self._subscriptions.append(subscription)
        return subscription

    def stop(self, reason: str) -> None:
        """End the capture, with the packets tapped so far in the file; waits for that at most a few seconds."""
        self._ends_for(reason)
        self._close_tap()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        reason = "an internal error, see the log of the controller"
        try:
            reason = self._record()
        except (DataplaneError, OSError) as error:
            reason = f"the capture failed: {error}"
        finally:
            self._ends_for(reason)
            self._close_tap()
            self._close_file()
            self._end()

    def _ends_for(self, reason: str) -> None:
        """Remember why the capture ends; the first reason is the one."""
        with self._lock:
            self._why = self._why or reason

    def _close_tap(self) -> None:
        try:
            self._capture.close()
        except (DataplaneError, OSError) as error:
            with self._lock:
                self._trouble = f" (its tap could not be removed: {error})"

    def _close_file(self) -> None:
        """A disk that refuses now has what was written so far."""
        try:
            self._writer.close()
        except OSError as error:
            _LOG.warning("capture file %s: %s", self.file, error)

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
        return f"the tap on {self.engine} ended"

    def _take(self, packet: Packet) -> None:
        rule, virtualservice, text = self._described(packet)
        self._writer.write(
            interface=packet.interface,
            time=packet.time,
            data=packet.data,
            length=packet.length,
            comment=text,
            outbound=packet.point == "after",
        )
        with self._lock:
            if self._subscriptions:
                sighting = Sighting(self.engine, packet, rule, virtualservice)
                for subscription in self._subscriptions:
                    subscription.offer(sighting)

    def _described(self, packet: Packet) -> tuple[str, str, str]:
        """Rule, virtual service and comment; asked for again every second, for the configuration may change."""
        key = (packet.mark, packet.point, packet.direction)
        known = self._known.get(key)
        if known is None:
            found = self._describe(packet.mark)
            rule, virtualservice = found.get("rule") or "", found.get("virtualservice") or ""
            known = self._known[key] = (rule, virtualservice, comment(packet, rule, virtualservice))
        return known

    def _over(self, *, idle: bool) -> str:
        if idle and self._why:
            return self._why
        now, size = self._clock(), self.bytes
        checked_at, checked_size = self._checked
        if now - checked_at >= _DISK_CHECK_SECONDS or size - checked_size >= _DISK_CHECK_BYTES:
            self._checked = (now, size)
            self._known.clear()
            return self._disk_full() or self.limits.reached(self.packets, size, now - self.started)
        return self.limits.reached(self.packets, size, now - self.started)

    def _disk_full(self) -> str:
        if shutil.disk_usage(self.file.parent).free >= DISK_RESERVE:
            return ""
        return f"less than {DISK_RESERVE // 2**20} MB are free under {self.file.parent}"

    def _end(self) -> None:
        with self._lock:
            self.lost = self._capture.lost
            self.reason = self._why + self._trouble
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
            job = CaptureJob(
                engine=se_name,
                user=user,
                limits=limits,
                capture=capture,
                writer=writer,
                describe=self._describe,
                clock=self._clock,
            )
            job.start()
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
        stamp = datetime.fromtimestamp(self._clock(), UTC).astimezone().strftime("%Y%m%d_%H%M%S")
        stem = f"se_nat_{re.sub(r'[^A-Za-z0-9.-]', '_', se_name)}_{stamp}"
        title = f"NAT capture of service engine {se_name}, before and after translation"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            return PcapngWriter(_unused(self._folder, stem), snaplen=snaplen, comment=title)
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

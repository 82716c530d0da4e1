"""The captures of a controller: started, found, stopped; their files kept within the quota of their tenant."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping

from avish.config.config import Config
from avish.config.ids import Ids
from avish.controller.capture_files import Folder, Kept, Rotation
from avish.controller.capture_job import CaptureJob
from avish.controller.decode import Names
from avish.controller.limits import Limits
from avish.controller.wanted import Wanted
from avish.errors import ApplyError, UnavailableError, ValidationError
from avish.operate.marks import describe, pool_of
from dataplane.driver import Capture, Driver
from dataplane.errors import DataplaneError, UnreachableError

_LOG = logging.getLogger(__name__)
PER_TENANT = 4
"""Captures kept when the controller's properties do not say."""
REMEMBERED = 200

Look = Callable[[], tuple[Config, Ids]]
"""The configuration as it is now."""


class Captures:
    """The capture jobs, at most one running per debug object; the files are in ``folder``."""

    def __init__(
        self, folder: Folder, driver_for: Callable[[str], Driver], look: Look, clock: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.look = look
        self._driver_for = driver_for
        self._clock = clock
        self._jobs: dict[tuple[str, str], CaptureJob] = {}
        self._starting = threading.Lock()
        self.begun: deque[CaptureJob] = deque(maxlen=REMEMBERED)
        """All captures of late, in order; ``jobs`` are the latest of each object."""

    def start(self, wanted: Wanted, user: str) -> CaptureJob:
        """Start a capture, or give the one that runs already. The taps are in place on return.

        Raises UnavailableError when no engine answers, ApplyError when one refuses the tap, the disk is nearly full
        or no file can be made.
        """
        with self._starting:
            running = self._jobs.get(wanted.key)
            if running is not None and running.state == "running":
                return running
            drivers = {name: self._driver_for(name) for name in wanted.engines}
            self.folder.prepare()
            limits = Limits.of(wanted.params, self.folder.free())
            taps, missing = self._taps(wanted, limits, drivers)
            try:
                job = self._job(wanted, user, limits, taps)
            except BaseException:
                for tap in taps.values():
                    tap.close()
                raise
            job.notes += [f"no packets from {name}: {why}" for name, why in missing.items()]
            self._jobs[wanted.key] = job
            self.begun.append(job)
            self._keep(job)
            job.start()
            return job

    def _taps(
        self, wanted: Wanted, limits: Limits, drivers: Mapping[str, Driver]
    ) -> tuple[dict[str, Capture], dict[str, str]]:
        """The taps by engine, and why some have none. One that refuses ends it, one that is away does not."""
        spec = wanted.spec_with(limits.snaplen)
        taps: dict[str, Capture] = {}
        away: dict[str, str] = {}
        for name, driver in drivers.items():
            try:
                taps[name] = driver.capture(spec)
            except UnreachableError as error:
                away[name] = f"it does not answer ({error})"
            except DataplaneError as error:
                for tap in taps.values():
                    tap.close()
                raise ApplyError(f"service engine {name} refused the capture: {error}") from error
        if not taps:
            name, why = next(iter(away.items()))
            raise UnavailableError(f"service engine {name}: {why}")
        return taps, away

    def _job(self, wanted: Wanted, user: str, limits: Limits, taps: Mapping[str, Capture]) -> CaptureJob:
        try:
            files = Rotation(self.folder, self.folder.stem(wanted.stem), limits, wanted.title)
        except OSError as error:
            raise ApplyError(f"no capture file can be made under {self.folder.path}: {error.strerror}") from error
        return CaptureJob(
            wanted,
            user=user,
            limits=limits,
            taps=taps,
            files=files,
            describe=self._describe,
            full=self.folder.full,
            clock=self._clock,
            on_turn=self._keep,
        )

    def _describe(self, mark: int, server: tuple[str, int] | None) -> Names:
        config, ids = self.look()
        found = describe(config, ids, mark)
        pool = pool_of(config, ids, mark, *server) if server else ""
        text = f"{server[0]}:{server[1]}" if server else ""
        return Names(found.get("rule", ""), found.get("virtualservice", ""), pool, text)

    def _keep(self, job: CaptureJob) -> None:
        """Write the capture down, and remove those that are too many."""
        wanted, names = job.wanted, tuple(path.name for path in job.files.paths)
        try:
            self.folder.note(Kept(job.files.stem, wanted.key, wanted.name, wanted.tenant, job.started, names))
            running = {one.files.stem for one in self._jobs.values() if one.state == "running"} | {job.files.stem}
            self.folder.thin_out(wanted.tenant, self._quota(), running)
        except OSError as error:
            _LOG.warning("captures of tenant %s: %s", wanted.tenant, error)

    def _quota(self) -> int:
        """Captures kept per tenant."""
        config, _ = self.look()
        properties = config.get("controllerproperties", "controllerproperties") or {}
        return int(properties.get("max_pcap_per_tenant") or PER_TENANT)

    def require_interface(self, job: CaptureJob, name: str) -> None:
        """ValidationError (404) with those that there are, unless an engine of the capture has the interface."""
        found = {engine: [link.name for link in self._driver_for(engine).interfaces()] for engine in job.wanted.engines}
        if not any(name in names for names in found.values()):
            texts = [f"{engine} has {', '.join(names) or 'none'}" for engine, names in found.items()]
            raise ValidationError(f"there is no interface {name!r}: {'; '.join(texts)}", status=404)

    def stop(self, key: tuple[str, str], reason: str = "stopped") -> CaptureJob | None:
        """End the capture of a debug object; gives its job, None if there never was one."""
        job = self._jobs.get(key)
        if job is not None and job.state == "running":
            job.stop(reason)
        return job

    def job(self, key: tuple[str, str]) -> CaptureJob | None:
        """The latest capture of a debug object, running or ended."""
        return self._jobs.get(key)

    def jobs(self) -> list[CaptureJob]:
        """The latest capture of each object that had one."""
        return list(self._jobs.values())

    def shutdown(self) -> None:
        """End all captures."""
        for key in list(self._jobs):
            self.stop(key, "the controller was shut down")

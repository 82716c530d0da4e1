"""The agent processes, one per service engine: found alive and adopted, or started. They outlive the controller."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from avish.server.home import EngineSpec, Home, private_log
from avish.server.sockets import connect, listener_pid
from dataplane import wire
from dataplane.errors import UnreachableError
from dataplane.processes import last_line
from dataplane.remote import RemoteDriver

log = logging.getLogger(__name__)

START_SECONDS = 10.0
ANSWER_SECONDS = 2.0
"""An agent that runs answers within this time whether it is well, whatever else it does."""
STOP_SECONDS = 3.0
_POLL_MS = 10


def end_process(pid: int, patience: float = STOP_SECONDS) -> None:
    """SIGTERM, and SIGKILL to one that does not go; returns when it is gone. UnreachableError when it stays."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            if select.select([handle], [], [], seconds)[0]:
                return
    finally:
        os.close(handle)
    raise UnreachableError(f"process {pid} cannot be killed: it hangs in the kernel")


def agent_of(home: Home, spec: EngineSpec) -> AgentProcess:
    """The agent of an engine of ``home``, running or not."""
    return AgentProcess(spec.place, spec.namespace, home.agent_socket(spec.place), home.agent_log(spec.place))


@dataclass
class AgentProcess:
    """The agent of an engine. ``namespace``: "" is the host's own; ``path``: its socket; ``log_file``: its output."""

    engine: str
    namespace: str
    path: Path
    log_file: Path
    _driver: RemoteDriver = field(init=False, repr=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._driver = RemoteDriver(self.path, ANSWER_SECONDS)

    def ensure(self) -> bool:
        """Start the agent unless one of our version listens already; True if it was started.

        UnreachableError when that fails.
        """
        if self._alive():
            version = self._driver.hello().get("version")
            if version == wire.VERSION:
                return False
            log.info("service engine %s: its agent speaks version %s, not %d", self.engine, version, wire.VERSION)
            self.stop()
        self._start()
        self._wait()
        log.info("service engine %s: agent started", self.engine)
        return True

    def revision(self) -> int | None:
        """The revision the agent holds, None since its start. UnreachableError when it does not answer."""
        held = self._driver.hello()["revision"]
        return None if held is None else int(held)

    def stop(self) -> None:
        """End the agent, whoever started it. UnreachableError when it stays."""
        pid = self._pid()
        if pid is not None:
            end_process(pid)
        self._reap()
        self.path.unlink(missing_ok=True)

    def _pid(self) -> int | None:
        """The process of the agent, None when there is none. UnreachableError when nothing tells."""
        try:
            return listener_pid(self.path)
        except OSError as error:
            if self._child is not None and self._child.poll() is None:  # else the number may be another's by now
                return self._child.pid
            raise self._stuck(error) from error

    def _stuck(self, error: OSError) -> UnreachableError:
        reason = error.strerror or error
        return UnreachableError(f"the agent of {self.engine} takes no connection at {self.path} any more: {reason}")

    def _alive(self) -> bool:
        """Whether an agent listens. UnreachableError when one does that takes no connection any more."""
        try:
            connection = connect(self.path, ANSWER_SECONDS)
        except OSError as error:
            raise self._stuck(error) from error
        if connection is None:
            return False
        connection.close()
        return True

    def _reap(self) -> None:
        if self._child is not None:
            self._child.poll()

    def _start(self) -> None:
        self._reap()
        command = [sys.executable, "-m", "dataplane.agent", "--namespace", self.namespace, "--socket", str(self.path)]
        try:
            with private_log(self.log_file) as out:
                self._child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
                )
        except OSError as error:
            raise UnreachableError(f"the agent of {self.engine} cannot be started: {error.strerror}") from error

    def _wait(self) -> None:
        """Until the agent listens."""
        child = self._child
        deadline = time.monotonic() + START_SECONDS
        while child is not None and time.monotonic() < deadline:
            if self._alive():
                return
            handle = select.poll()
            descriptor = os.pidfd_open(child.pid)
            handle.register(descriptor, select.POLLIN)
            ended = handle.poll(_POLL_MS)
            os.close(descriptor)
            if ended:
                child.wait()
                said = f"{last_line(self.log_file)} (see {self.log_file})"
                raise UnreachableError(f"the agent of {self.engine} ended at once: {said}")
        raise UnreachableError(
            f"the agent of {self.engine} does not listen after {START_SECONDS:.0f} s; see {self.log_file}"
        )

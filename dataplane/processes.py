"""Programs inside network namespaces: started, watched while they start, and all ended again."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from dataplane.errors import LabError
from dataplane.topology import search_path

SETTLE_SECONDS = 0.5
"""So long a program that neither listens nor ends is watched before it counts as started."""

TERM_SECONDS = 3.0
"""So long a program may take to end by itself before it is killed."""

KILL_SECONDS = 10.0

_STEP_MS = 5
_LISTEN = "0A"
_NETNS_ID = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Process:
    """A started program; ``label`` says where it was asked for."""

    label: str
    command: tuple[str, ...]
    log: Path
    popen: subprocess.Popen[bytes]


def start(label: str, command: tuple[str, ...], namespace: Path, cwd: Path, log: Path) -> Process:
    """Start ``command`` in the namespace of the file ``namespace``, in a session of its own, output to ``log``.

    Descriptor 3 is ``cwd`` too, for servers that leave their working directory: /proc/self/fd/3.
    """
    environment = {**os.environ, "PATH": search_path()}
    argv = ["nsenter", f"--net={namespace}", "--", "sh", "-c", 'exec "$@" 3< .', "sh", *command]
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        popen = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    except OSError as error:
        raise LabError(f"{label}: {error.strerror}") from None
    finally:
        os.close(handle)
    return Process(label, command, log, popen)


def failures(started: list[Process]) -> list[str]:
    """Wait until each program listens, has ended, or SETTLE_SECONDS are over; what failed, with its log's last line.

    A program that ended with status 0 has put itself into the background, which is no failure.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    waiting = list(started)
    while waiting and time.monotonic() < deadline:
        _wait_for_end([process.popen.pid for process in waiting], _STEP_MS)
        waiting = [p for p in waiting if p.popen.poll() is None and not _listens(p.popen.pid)]
    return [_failure(process) for process in started if process.popen.poll()]


def _failure(process: Process) -> str:
    ended = f"{process.command[0]} ended at once with status {process.popen.returncode}"
    return f"{process.label}: {ended}: {last_line(process.log)} (see {process.log})"


def last_line(log: Path) -> str:
    """The last line a program wrote into its log, "it said nothing" without one. Raises OSError."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _wait_for_end(pids: list[int], milliseconds: int) -> None:
    """Return when one of our children has ended, or the time is over."""
    poll = select.poll()
    handles = [os.pidfd_open(pid) for pid in pids]
    for handle in handles:
        poll.register(handle, select.POLLIN)
    poll.poll(milliseconds)
    for handle in handles:
        os.close(handle)


def _listens(pid: int) -> bool:
    """Whether the process has a TCP socket that takes connections."""
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return False  # it has ended, or closed a file meanwhile: the next look will tell
    listening = {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTEN}
    return not listening.isdisjoint(links)


def end_all(namespaces: list[Path]) -> int:
    """End every process inside ``namespaces``, kindly first; how many there were.

    Raises LabError when the caller itself is inside one of them.
    """
    targets = {_identity(namespace) for namespace in namespaces}
    if _identity(Path("/proc/self/ns/net")) in targets:
        raise LabError("this program runs inside the lab that it should remove: run it outside")
    ended = 0
    while found := _inside(targets):  # again: one may have started another meanwhile
        ended += len(found)
        _end(found)
    return ended


def _identity(namespace: Path) -> _NETNS_ID:
    status = namespace.stat()
    return status.st_dev, status.st_ino


def _inside(targets: set[_NETNS_ID]) -> list[int]:
    """A pidfd for every process in one of the namespaces."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()] if targets else []
    return [handle for pid in pids if (handle := _open_if_inside(pid, targets)) is not None]


def _open_if_inside(pid: int, targets: set[_NETNS_ID]) -> int | None:
    """Looks again once the handle is open: from then on the pid cannot become another process."""
    link = Path(f"/proc/{pid}/ns/net")
    try:
        if _identity(link) not in targets:
            return None
        handle = os.pidfd_open(pid)
    except OSError:
        return None  # it has ended
    try:
        if _identity(link) in targets:
            return handle
    except OSError:
        pass  # it has ended
    os.close(handle)
    return None


def _end(handles: list[int]) -> None:
    """Ends the processes and closes their handles."""
    left = _signalled(handles, signal.SIGTERM, TERM_SECONDS)
    left = _signalled(left, signal.SIGKILL, KILL_SECONDS)
    for handle in handles:
        os.close(handle)
    if left:
        raise LabError(f"{len(left)} processes inside the lab cannot be killed: they hang in the kernel")


def _signalled(handles: list[int], number: signal.Signals, seconds: float) -> list[int]:
    """Send the signal; those that have not ended after ``seconds``."""
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            continue  # it has ended: poll will say so
    deadline = time.monotonic() + seconds
    left = set(handles)
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    while left and (remaining := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(remaining * 1000):
            poll.unregister(handle)
            left.discard(handle)
    return sorted(left)

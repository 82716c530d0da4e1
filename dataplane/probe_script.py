"""A script of the operator's as a test: run as nobody, whatever it prints means up."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from dataplane.health_model import Probe
from dataplane.probe_verdict import failed

NOBODY = 65534
_AT_ONCE = 32
_PATH = "/usr/local/bin:/usr/bin:/bin"
_places: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def run(probe: Probe, ip: str, port: int) -> None:
    """Returns when the script prints. Raises Failed when it ends in silence or cannot be run."""
    place = _places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE))
    async with place:
        script = _script(probe.request)
        try:
            child = await asyncio.create_subprocess_exec(
                f"/proc/self/fd/{script}",
                ip,
                str(port),
                *probe.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(probe, ip, port),
                cwd="/",
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                pass_fds=(script,),
                start_new_session=True,
            )
        except OSError as error:
            raise failed("SCRIPT_ERROR", f"the script cannot be run: {error.strerror}") from error
        finally:
            os.close(script)
        await _told(child)


async def _told(child: asyncio.subprocess.Process) -> None:
    try:
        if child.stdout is None or child.stderr is None:
            raise failed("SCRIPT_ERROR", "the script has no output")
        if await child.stdout.read(1):
            return
        complaint = (await child.stderr.read(200)).decode(errors="replace").strip().splitlines()
        said = f": {complaint[-1]}" if complaint else ""
        raise failed("SCRIPT_ERROR" if complaint else "NO_RESPONSE", f"the script printed nothing{said}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await asyncio.shield(child.wait())


def _script(text: str) -> int:
    """A file in memory, open for reading only, else the kernel refuses to run it."""
    written = os.memfd_create("health", 0)
    try:
        os.fchmod(written, 0o555)
        os.write(written, (text if text.startswith("#!") else f"#!/bin/sh\n{text}").encode())
        return os.open(f"/proc/self/fd/{written}", os.O_RDONLY)
    finally:
        os.close(written)


def _environment(probe: Probe, ip: str, port: int) -> dict[str, str]:
    given = dict(pair.partition("=")[::2] for pair in probe.environment)
    return {"PATH": _PATH, "IP": ip, "PORT": str(port), "HM_NAME": probe.name, **given}

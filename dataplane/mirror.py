"""The copying of connections to the other engine: one conntrackd serves all pairs of an engine that ask for it."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dataplane import failover_rules, links
from dataplane.failover_model import Pair

_LOG = logging.getLogger(__name__)
RESTART_SECONDS = 1.0
STOP_SECONDS = 2.0


class Mirror:
    """Runs while any pair wants it, over the links of the first that does. Of one event loop."""

    def __init__(self, folder: Path) -> None:
        self.reason = ""
        """Why nothing is copied though a pair wants it."""
        self._folder = folder
        self._pair: Pair | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether connections are copied."""
        return self._process is not None and self._process.returncode is None

    async def follow(self, pairs: Mapping[int, Pair]) -> None:
        """Begin, end, or go on over other links."""
        wanted = next((pair for _, pair in sorted(pairs.items()) if pair.mirror), None)
        before, self._pair = self._pair, wanted
        if before is not None and wanted is not None and before.links == wanted.links and self._lives():
            return
        await self._end()
        if wanted is not None:
            self._task = asyncio.get_running_loop().create_task(self._keep(wanted))

    def _lives(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await ended(self._process)
        self._process, self.reason = None, ""

    async def _keep(self, pair: Pair) -> None:
        """Run conntrackd, again whenever it ends."""
        program = shutil.which("conntrackd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            self.reason = "conntrackd is not installed (apt-get install conntrackd)"
            return
        config = self._folder / "conntrackd.conf"
        own = [row["ip"] for row in await asyncio.to_thread(links.address_rows) if not row["own"]]
        config.write_text(failover_rules.conntrackd(pair, self._folder, own))
        while True:
            (self._folder / "conntrackd.lock").unlink(missing_ok=True)
            self._process = await asyncio.create_subprocess_exec(
                "setpriv", "--pdeathsig", "TERM", program, "-C", str(config),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            status = await self._process.wait()
            _LOG.warning("conntrackd ended with status %d", status)
            await asyncio.sleep(RESTART_SECONDS)


async def ended(process: asyncio.subprocess.Process | None) -> None:
    """SIGTERM, and SIGKILL to one that does not go."""
    if process is None or process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

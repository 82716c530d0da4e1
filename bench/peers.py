"""FRR's vtysh as a peer: its daemons run in a network namespace of the benchmark and end with it."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

DAEMONS = Path("/usr/lib/frr")
PATIENCE = 10.0


def vtysh_lines(count):
    """Static routes a second that ``vtysh -f`` takes; 0 when FRR is not installed."""
    if not shutil.which("vtysh") or not (DAEMONS / "staticd").exists():
        return 0.0
    with tempfile.TemporaryDirectory(prefix="avish-frr-") as place, _running(Path(place)):
        routes = Path(place) / "routes.conf"
        routes.write_text(
            "".join(f"ip route 10.{50 + n // 62500}.{n // 250 % 250}.{n % 250}/32 10.99.0.2\n" for n in range(count))
        )
        began = time.perf_counter()
        subprocess.run(["vtysh", "--vty_socket", place, "-f", routes], check=True, capture_output=True)
        return count / (time.perf_counter() - began)


@contextlib.contextmanager
def _running(place):
    shutil.chown(place, "frr", "frr")  # as which they run
    daemons = [_daemon(place, name) for name in ("zebra", "staticd")]
    try:
        deadline = time.monotonic() + PATIENCE
        while not all((place / f"{name}.vty").exists() for name in ("zebra", "staticd")):
            if time.monotonic() > deadline:
                raise SystemExit("bench: FRR's daemons do not start")
            select.select([], [], [], 0.02)
        yield
    finally:
        for daemon in reversed(daemons):
            os.kill(daemon.pid, signal.SIGTERM)
            daemon.wait(PATIENCE)


def _daemon(place, name):
    """Both daemons share what they need by sockets in ``place``; each has an empty network of its own."""
    command = ["unshare", "--net", str(DAEMONS / name), "--vty_socket", str(place), "-i", str(place / f"{name}.pid")]
    command += ["-z", str(place / "zserv.api"), "-f", "/dev/null"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

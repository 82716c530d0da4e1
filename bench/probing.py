"""The figure of health monitors: what 5,000 servers that are tested every 10 s cost the agent.

Run as a program with the argument "monitor" it is the monitor that is measured.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure

SERVERS = 5000
INTERVAL = 10.0
LIMIT = 30.0
"""Percent of a core."""
PATIENCE = 60.0
CLOCK = 100 / INTERVAL


def _addresses():
    return [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(SERVERS)]


def _spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def monitor(port):
    """Test them all; print what a whole interval took of the processor, in seconds, and how many are up."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from dataplane.health import Monitor
    from dataplane.health_model import Probe, Watch
    from dataplane.model import SeState

    usable = {}
    with tempfile.TemporaryDirectory() as folder:
        made = Monitor(lambda up, _changed: usable.update(up), Path(folder) / "memory")
        watch = Watch(tuple((ip, port) for ip in _addresses()), ("bench",))
        made.follow(SeState(probes={"bench": Probe("bench", "tcp", INTERVAL, 4.0)}, pools={"pool": watch}))
        made.settle(PATIENCE)
        time.sleep(INTERVAL)  # the first tests all came at once
        before = _spent()
        time.sleep(INTERVAL)
        print(json.dumps([_spent() - before, len(usable.get("pool", ()))]))
        made.close()


def _connects(port):
    """What as many bare handshakes take of the processor, in seconds."""
    before = _spent()
    for ip in _addresses():
        socket.create_connection((ip, port)).close()
    return _spent() - before


SERVER = """
import selectors, socket, sys
listener = socket.create_server(("0.0.0.0", 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].close()
"""


def figures():
    """Percent of a core."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            floor = _connects(port)
            argv = [sys.executable, __file__, "monitor", str(port)]
            done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=2 * PATIENCE)
        finally:
            server.kill()
    spent, up = json.loads(done.stdout)
    if up != SERVERS:
        raise SystemExit(f"bench: {up} of {SERVERS} servers are up")
    yield Figure(
        f"health: {SERVERS:,} servers every {INTERVAL:.0f} s",
        spent * CLOCK,
        floor * CLOCK,
        "% of a core",
        f"at most {LIMIT:.0f} %",
        spent * CLOCK <= LIMIT,
        "bare handshakes",
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["monitor"]:
        monitor(int(sys.argv[2]))
    else:
        for figure in figures():
            print(f"{figure.name}: {figure.value:.1f} {figure.unit}, bare {figure.floor:.1f} ({figure.target})")

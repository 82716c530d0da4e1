"""A real controller and the real agent of an engine with 10,000 services: import, rest, kill -9, one counter."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, run_seconds
from scale import SERVICES, document, name_of

from avish.api.client import Client
from dataplane.errors import UnreachableError
from dataplane.remote import RemoteDriver

TOPOLOGY = """
name: bench
networks: {front: {subnet: 10.20.0.0/16}, back: {subnet: 10.40.0.0/16}}
serviceengines:
  se1: {interfaces: {eth1: {network: front, ip: 10.20.255.1}, eth2: {network: back, ip: 10.40.255.1}}}
"""
REST_SECONDS = 10.0
PATIENCE = 120.0
TURNS = 3
LOOKS = 21
AGAIN_MS, IDLE_PERCENT, MEMORY_MB, COUNTER_MS, IMPORT_MS = 2000, 2, 300, 5, 20_000


class Engine:
    """A lab of one engine, into which the configuration is imported as an operator would."""

    def __init__(self, bin_dir):
        self.bin = bin_dir
        self.prefix = f"bench{os.getpid()}e"

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="avish-bench-")
        self.home = Path(self.folder.name) / "home"
        topology = Path(self.folder.name) / "bench.yaml"
        topology.write_text(TOPOLOGY)
        self._avishd("up", str(topology))
        self.agent = RemoteDriver(self.home / "run" / "se1.sock")
        return self

    def __exit__(self, *_):
        self._avishd("down")
        self.folder.cleanup()

    def _avishd(self, *words):
        argv = [self.bin / "avishd", *words, "--home", self.home, "--prefix", self.prefix]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    def load(self):
        """The seconds of the import, from the file to the kernel."""
        file = self.home / "exports" / "bench.json"
        file.write_text(json.dumps(document()))
        argv = [self.bin / "avish", "--home", self.home, "-c", f"import configuration file {file}"]
        return run_seconds(argv, stderr=subprocess.DEVNULL)

    def again(self):
        """The seconds from kill -9 of the agent until one is there that holds the same."""
        before = self.agent.hello()
        began = time.monotonic()
        os.kill(before["pid"], signal.SIGKILL)
        while time.monotonic() < began + PATIENCE:
            try:
                found = self.agent.hello()
            except UnreachableError:
                found = before
            if found["pid"] != before["pid"] and found["revision"] == before["revision"]:
                return time.monotonic() - began
            time.sleep(0.01)
        raise SystemExit("bench: no agent took the place of the one that was killed")

    def at_rest(self):
        """Per cent of a core, and MB, of the agent while nothing happens."""
        process = Path(f"/proc/{self.agent.hello()['pid']}")
        began = _ticks(process)
        time.sleep(REST_SECONDS)
        used = (_ticks(process) - began) / os.sysconf("SC_CLK_TCK")
        resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return 100 * used / REST_SECONDS, resident

    def figures_of_one(self):
        """The milliseconds in which the figures of one service are read, and its counter alone."""
        client = Client(self.home)
        uuid = client.call("GET", "/api/virtualservice", {"name": name_of(SERVICES // 2)}).body["results"][0]["uuid"]
        shown = [_ms(lambda: client.call("GET", f"/api/virtualservice/{uuid}/runtime/detail")) for _ in range(LOOKS)]
        counted = [_ms(lambda: self.agent.counters(("service_5000",))) for _ in range(LOOKS)]
        return statistics.median(shown), statistics.median(counted)


def _ticks(process):
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _ms(act):
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def figures(bin_dir):
    """All figures."""
    with Engine(bin_dir) as engine:
        load = engine.load() * 1000
        yield _most(f"import of {SERVICES} services, file to kernel", load, "ms", IMPORT_MS)
        shown, counted = engine.figures_of_one()
        yield _most(f"one counter of {SERVICES} services", counted, "ms", COUNTER_MS)
        yield Figure(
            f"show one of {SERVICES} services in detail", shown, 0, "ms", "reported", met=True, floor_name="none"
        )
        idle, memory = engine.at_rest()
        yield _most(f"agent with {SERVICES} services, idle", idle, "% of a core", IDLE_PERCENT)
        yield _most("the same, memory", memory, "MB", MEMORY_MB)
        again = statistics.median([engine.again() for _ in range(TURNS)]) * 1000
        yield _most("the same, killed -9: in step again", again, "ms", AGAIN_MS)


def _most(name, value, unit, most):
    return Figure(name, value, 0, unit, f"<= {most} {unit}", value <= most, "none")


if __name__ == "__main__":
    for figure in figures(Path(sys.executable).parent):
        print(
            f"{figure.name}: {figure.value:,.1f} {figure.unit} ({figure.target}: {'met' if figure.met else 'MISSED'})"
        )

"""The figures of failover: what `drill failover` measures, beside the time of three heartbeats that is waited for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from figures import Figure
from lab import Lab

DRILLS = 5
PATIENCE = 20.0
AGGRESSIVE = "configure serviceenginegroup Default-Group\naggressive_failure_detection\nsave\n"


class Pair:
    """The two engines of a lab, asked by the shell."""

    def __init__(self, lab):
        self._argv = [str(lab.bin / "avish"), "--home", str(lab.home), "--json"]

    def ask(self, line):
        done = subprocess.run(self._argv, input=line + "\n", capture_output=True, text=True, check=True)
        return json.loads(done.stdout or "null")

    def well(self):
        """Wait until one engine is active and the other ready to take over."""
        deadline = time.monotonic() + PATIENCE
        while sorted(self._roles()) != ["ACTIVE", "STANDBY"]:
            if time.monotonic() > deadline:
                raise TimeoutError("the engines have not elected")
            time.sleep(0.1)

    def _roles(self):
        return [self.ask(f"show serviceengine {name} summary")["pair"][0]["role"] for name in ("se1", "se2")]

    def longest(self):
        """The longest outage of several drills, in milliseconds."""
        found = []
        for _ in range(DRILLS):
            self.well()
            found.append(self.ask("drill failover")["outage_ms"])
        return max(found)


def figures(bin_dir):
    """With the defaults, and with aggressive detection."""
    with Lab(bin_dir) as lab:
        pair = Pair(lab)
        yield _figure("failover: longest outage", pair.longest(), 240, 400)
        subprocess.run(
            [str(bin_dir / "avish"), "--home", str(lab.home)],
            input=AGGRESSIVE,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield _figure("failover: longest outage, aggressive", pair.longest(), 90, 120)


def _figure(name, value, floor, limit):
    return Figure(name, value, floor, "ms", f"at most {limit} ms", value <= limit, "three heartbeats")


if __name__ == "__main__":
    for figure in figures(Path(sys.executable).parent):
        print(f"{figure.name}: {figure.value:,.0f} ms ({figure.target}: {'met' if figure.met else 'MISSED'})")

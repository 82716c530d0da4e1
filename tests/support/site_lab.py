"""A lab with the product in it, driven through its programs alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
CALL = Path(__file__).parents[1] / "namespaces/call.py"
LIMIT = 60


@dataclass
class Site:
    """A running lab."""

    home: Path
    prefix: str

    def avishd(self, *words: object) -> subprocess.CompletedProcess[str]:
        argv = [BIN / "avishd", *map(str, words), "--home", self.home, "--prefix", self.prefix]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LIMIT)

    def shell(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        argv = [BIN / "avish", "--home", self.home, *options]
        return subprocess.run(argv, input=script, capture_output=True, text=True, check=False, timeout=LIMIT)

    def do(self, script: str) -> str:
        """A script that must succeed; its output."""
        done = self.shell(script, "--min-output")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inside(self, host: str, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["ip", "netns", "exec", f"{self.prefix}-{host}", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LIMIT)

    def call(self, host: str, kind: str, address: str, port: int, count: int = 1, *source: str) -> list[str]:
        """What answered the calls: "NAME CALLER-IP CALLER-PORT", or the name of an error."""
        words = [kind, address, str(port), str(count), *source]
        return self.inside(host, sys.executable, str(CALL), *words).stdout.splitlines()


@contextmanager
def running(topology: Path, folder: Path, prefix: str) -> Iterator[Site]:
    """A lab from nothing, and back to nothing."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    site = Site(folder / "home", prefix)
    try:
        up = site.avishd("up", topology)
        assert up.returncode == 0, up.stderr
        yield site
    finally:
        down = site.avishd("down")
        assert down.returncode == 0, down.stderr
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        assert f"{prefix}-" not in left

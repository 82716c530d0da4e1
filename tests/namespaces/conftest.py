"""A lab with the product in it, driven through its programs alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
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
        return self.inside(host, sys.executable, str(HERE / "call.py"), *words).stdout.splitlines()


def _site(topology: Path, folder: Path, prefix: str) -> Iterator[Site]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    site = Site(folder / "home", prefix)
    up = site.avishd("up", topology)
    assert up.returncode == 0, up.stderr
    try:
        yield site
    finally:
        down = site.avishd("down")
        assert down.returncode == 0, down.stderr
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        assert f"{prefix}-" not in left


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One client, two engines, two servers; routing is on."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("plain.yaml", "answer.py"):
        shutil.copy(HERE / name, folder)
    for site in _site(folder / "plain.yaml", folder, f"t{os.getpid()}p"):
        site.do(ROUTING)
        yield site


@pytest.fixture
def founding(tmp_path: Path) -> Iterator[Site]:
    """The founding topology, nothing configured."""
    topology = HERE.parents[1] / "fixtures/topologies/active-ftp.yaml"
    yield from _site(topology, tmp_path, f"t{os.getpid()}f")


ROUTING = """
configure serviceenginegroup Default-Group
ha_mode ha_mode_legacy_active_standby
save
configure applicationprofile keep
type application_profile_type_l4
preserve_client_ip
save
configure networkservice routing
se_group_ref Default-Group
service_type routing_service
routing_service enable_routing floating_intf_ip 10.77.1.1 floating_intf_ip 10.77.2.1
save
save
"""

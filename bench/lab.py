"""A lab of the bench's own: a prefix and a home directory that nobody else has, taken away at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path

from avish.api.client import Client

ROOT = Path(__file__).resolve().parent.parent
RUNBOOK = ROOT / "fixtures" / "runbooks" / "active-ftp.avi"
OBJECTS = 1000
TOPOLOGY = """
name: bench
networks:
  front: {subnet: 10.10.10.0/24}
  back:  {subnet: 10.10.40.0/24}
serviceengines:
  se1: {interfaces: {eth1: {network: front, ip: 10.10.10.11}, eth2: {network: back, ip: 10.10.40.11}}}
  se2: {interfaces: {eth1: {network: front, ip: 10.10.10.12}, eth2: {network: back, ip: 10.10.40.12}}}
hosts:
  router: {network: front, ip: 10.10.10.254}
"""


def name_of(number):
    """The name of a pool that the bench made."""
    return f"bench-{number:04d}-pool"


def free_port():
    """A port of this machine that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """Two engines that hold the founding runbook, and 1,000 further pools in the store."""

    def __init__(self, bin_dir):
        self.bin = bin_dir
        self.metrics = free_port()

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="avish-bench-")
        self.home = Path(self.folder.name) / "home"
        self.prefix = f"bench{os.getpid()}"
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._run("avishd", "down", "--home", str(self.home), "--prefix", self.prefix)
        self.folder.cleanup()

    def _build(self):
        topology = Path(self.folder.name) / "bench.yaml"
        topology.write_text(TOPOLOGY)
        place = f"127.0.0.1:{self.metrics}"
        self._run("avishd", "up", str(topology), "--home", str(self.home), "--prefix", self.prefix, "--metrics", place)
        self._run("avish", "--home", str(self.home), "--min-output", "--file", str(RUNBOOK))
        requests = [
            {"method": "POST", "path": "/api/pool", "body": {"name": name_of(number)}} for number in range(OBJECTS)
        ]
        answer = self.client().call("POST", "/api/transaction", body={"requests": requests})
        if answer.status >= 400:
            raise SystemExit(f"bench: {OBJECTS} pools were refused: {str(answer.body)[:300]}")

    def client(self):
        """A client of the lab's controller."""
        return Client(self.home)

    def namespace(self, name):
        """The file of a namespace of the lab."""
        return f"/run/netns/{self.prefix}-{name}"

    def _run(self, program, *arguments):
        done = subprocess.run([self.bin / program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: {program} {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")

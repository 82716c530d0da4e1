"""An engine in a network namespace of its own, with an agent, between a client and two servers."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from dataplane.errors import UnreachableError
from dataplane.remote import RemoteDriver

HANG = 20
_NUMBERS = itertools.count(1)


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


class Lab:
    """client 10.81.0.10 - engine 10.81.0.2 (eth1), 10.82.0.2 (eth2), 10.83.0.2 (eth3) - servers 10.82.0.11, 10.83.0.12."""

    def __init__(self, folder):
        self.prefix = f"t{os.getpid()}x{next(_NUMBERS)}"
        self.socket = folder / f"{self.prefix}.sock"
        self.driver = RemoteDriver(self.socket)
        self.process = None
        self.made = []

    def name(self, host):
        return f"{self.prefix}{host}"

    def inside(self, host, *words):
        return run("ip", "netns", "exec", self.name(host), *words)

    def build(self):
        for host in ("c", "e", "s1", "s2"):
            run("ip", "netns", "add", self.name(host))
            self.made.append(host)
            run("ip", "-n", self.name(host), "link", "set", "lo", "up")
        self.wire("c", "eth1", "10.81.0.10/24", "10.81.0.2/24", "10.81.0.2")
        self.wire("s1", "eth2", "10.82.0.11/24", "10.82.0.2/24", "10.82.0.1")
        self.wire("s2", "eth3", "10.83.0.12/24", "10.83.0.2/24", "10.83.0.1")

    def wire(self, host, port, address, engine_address, gateway):
        engine, other = self.name("e"), self.name(host)
        run("ip", "-n", engine, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", other)
        for namespace, device, own in ((engine, port, engine_address), (other, "eth0", address)):
            run("ip", "-n", namespace, "addr", "add", own, "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", other, "route", "add", "default", "via", gateway)

    def start(self):
        """Start an agent and wait until it answers."""
        where = ["--namespace", self.name("e"), "--socket", str(self.socket)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dataplane.agent", *where, "--unwatched"],  # what others change stays to be seen
            stderr=subprocess.PIPE,
            text=True,
        )
        while "serving" not in (line := self.process.stderr.readline()):
            assert line, "the agent ended"
        return self.driver

    def kill(self):
        self.process.kill()
        self._reap()

    def _reap(self):
        self.process.wait(HANG)
        self.process.stderr.close()
        self.process = None

    def down(self):
        if self.process is not None:
            try:
                self.driver.stop()
            except UnreachableError:
                self.process.kill()
            self._reap()
        self.driver.close()
        for host in self.made:
            run("ip", "netns", "del", self.name(host))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("agent"))
    try:
        made.build()
        made.start()
        yield made
    finally:
        made.down()

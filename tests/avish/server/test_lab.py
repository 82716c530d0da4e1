"""A real lab with a real controller: the program is run as an operator would, the kernel is looked at from outside."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avish.api.client import Client
from avish.server.home import Home
from avish.server.sockets import connect, listener_pid
from dataplane import lab
from dataplane.topology import load

pytestmark = pytest.mark.root
HANG = 30.0
TOPOLOGY = """
name: small
networks:
  front: {subnet: 10.10.10.0/24}
  back: {subnet: 10.10.40.0/24}
serviceengines:
  se1: {se_group: Default-Group, interfaces: {eth1: {network: front, ip: 10.10.10.11}, eth2: {network: back, ip: 10.10.40.11}}}
  se2: {se_group: blue, interfaces: {eth1: {network: front, ip: 10.10.10.12}, eth2: {network: back, ip: 10.10.40.12}}}
"""


class Site:
    """A home, a prefix and the program."""

    def __init__(self, folder, prefix):
        self.home = Home(folder / "home")
        self.prefix = prefix
        self.topology = folder / "small.yaml"
        self.topology.write_text(TOPOLOGY)

    def avishd(self, *words):
        command = [sys.executable, "-m", "avish.server.main", *words, "--home", str(self.home.path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def up(self):
        done = self.avishd("up", str(self.topology), "--prefix", self.prefix)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def down(self):
        done = self.avishd("down")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, method, path, query=None, body=None):
        return Client(self.home.path).call(method, path, query, body)

    def post(self, kind, **body):
        answer = self.call("POST", f"/api/{kind}", body=body)
        assert answer.status == 201, answer.body

    def service(self):
        self.post("pool", name="p", servers=[{"ip": "10.10.40.101"}])
        self.post("vsvip", name="v", vip=[{"vip_id": "1", "ip_address": "10.10.10.50"}])
        self.post(
            "virtualservice",
            name="vs",
            services=[{"port": 8080}],
            pool_ref="p",
            vsvip_ref="v",
            application_profile_ref="System-L4-Application",
        )

    def ruleset(self, engine="se1"):
        command = ["ip", "netns", "exec", f"{self.prefix}-{engine}", "nft", "list", "ruleset"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def namespaces(self):
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        return [line.split()[0] for line in listed.splitlines() if line.startswith(f"{self.prefix}-")]

    def agent(self, engine="se1"):
        return listener_pid(self.home.agent_socket(engine))

    def in_step(self):
        """Wait until every engine is."""
        deadline = time.monotonic() + HANG
        while time.monotonic() < deadline:
            report = self.call("GET", "/api/avish/status").body
            if all(engine["status"] == "connected" for engine in report["engines"]):
                return
            select.select([], [], [], 0.02)
        pytest.fail(f"not in step: {report}")


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path, f"t{os.getpid()}s")
    yield site
    site.down()


def lives(pid):
    """Whether a process runs; what only waits for init to take note of its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid):
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([handle], [], [], HANG)[0]
    os.close(handle)


def test_from_nothing_and_back_to_nothing(site):
    assert "controller started" in site.up()
    assert len(site.namespaces()) == 3
    assert stat.S_IMODE(site.home.socket.stat().st_mode) == 0o600
    again = site.up()
    assert "stands already" in again
    assert "runs already" in again
    engines = site.call("GET", "/api/serviceengine").body["results"]
    assert [(e["name"], e["se_group_ref"].split("#")[1]) for e in engines] == [
        ("se1", "Default-Group"),
        ("se2", "blue"),
    ]
    site.service()
    assert "10.10.10.50 . tcp . 8080" in site.ruleset()
    assert "8080" not in site.ruleset("se2")
    assert site.avishd("check").returncode == 0
    report = json.loads(site.avishd("status", "--json").stdout)
    assert [engine["status"] for engine in report["engines"]] == ["connected", "connected"]
    pids = [report["pid"], site.agent("se1"), site.agent("se2")]
    site.down()
    assert site.namespaces() == []
    assert not any(lives(pid) for pid in pids)
    assert not site.home.socket.exists()
    assert "nothing to take down" in site.down()
    site.up()
    assert site.call("GET", "/api/virtualservice").body["count"] == 1
    assert "10.10.10.50 . tcp . 8080" in site.ruleset()


def test_an_agent_killed_is_back_and_in_step(site):
    site.up()
    site.service()
    pid, before = site.agent(), site.ruleset()
    kill(pid)
    assert site.ruleset() == before
    vs = site.call("GET", "/api/virtualservice").body["results"][0]
    answer = site.call("PUT", f"/api/virtualservice/{vs['uuid']}", body={**vs, "services": [{"port": 8081}]})
    assert answer.status == 200, answer.body
    site.in_step()
    assert site.agent() not in (None, pid)
    assert ". 8081 " in site.ruleset()
    assert ". 8080 " not in site.ruleset()
    assert site.avishd("check").returncode == 0


def test_a_frozen_agent_does_not_hold_up_a_save(site):
    site.up()
    site.service()
    vs = site.call("GET", "/api/virtualservice").body["results"][0]
    agent = site.agent()
    os.kill(agent, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        answer = site.call("PUT", f"/api/virtualservice/{vs['uuid']}", body={**vs, "services": [{"port": 8081}]})
        assert answer.status == 200, answer.body
        assert time.monotonic() - begun < HANG
        assert any("se1" in text for text in answer.warnings)
    finally:
        os.kill(agent, signal.SIGCONT)
    site.in_step()
    assert ". 8081 " in site.ruleset()


def test_a_controller_killed_loses_nothing(site):
    site.up()
    site.service()
    agent, before = site.agent(), site.ruleset()
    kill(site.home.holder())
    assert site.avishd("status").returncode == 69
    assert site.ruleset() == before
    site.up()
    site.in_step()
    assert site.agent() == agent
    assert site.call("GET", "/api/virtualservice").body["count"] == 1
    assert site.ruleset() == before
    assert site.avishd("check").returncode == 0


def test_what_somebody_did_to_the_kernel_is_found(site):
    site.up()
    site.service()
    command = ["ip", "netns", "exec", f"{site.prefix}-se1", "nft", "delete", "table", "ip", "avish"]
    subprocess.run(command, check=True)
    log, deadline = site.home.path / "log/agent-se1.log", time.monotonic() + 5
    while "put right: nftables table ip avish is missing" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert site.avishd("check").returncode == 0


def test_a_second_controller_and_another_lab_are_refused(site, tmp_path):
    site.up()
    done = site.avishd("serve")
    assert done.returncode == 69
    assert "another controller" in done.stderr.splitlines()[-1]
    other = tmp_path / "other.yaml"
    other.write_text(TOPOLOGY.replace("small", "other"))
    done = site.avishd("up", str(other), "--prefix", site.prefix)
    assert done.returncode == 1
    assert "avishd down" in done.stderr
    assert site.avishd("down", "--prefix", "nobody").returncode == 1
    assert len(site.namespaces()) == 3


def test_an_engine_rebooted_by_command(site):
    site.up()
    site.service()
    site.in_step()
    agent, before = site.agent(), site.ruleset()
    uuid = site.call("GET", "/api/serviceengine", {"name": "se1"}).body["results"][0]["uuid"]
    answer = site.call("POST", f"/api/serviceengine/{uuid}/reboot")
    assert (answer.status, answer.body) == (200, {"name": "se1", "status": "connected"})
    assert not lives(agent)
    assert site.agent() != agent
    assert site.ruleset() == before
    assert site.avishd("check").returncode == 0


def test_all_killed_goes_down_cleanly(site):
    site.up()
    for pid in (site.home.holder(), site.agent("se1"), site.agent("se2")):
        kill(pid)
    site.down()
    assert site.namespaces() == []


def test_a_lab_whose_home_was_deleted_goes_down(site):
    lab.build(load(site.topology), site.prefix, site.home.path, site.home.log)
    shutil.rmtree(site.home.path)
    done = site.avishd("down", "--prefix", site.prefix)
    assert done.returncode == 0, done.stderr
    assert "3 namespaces removed" in done.stdout
    assert site.namespaces() == []


def test_an_agent_that_takes_no_connection_goes_down_with_its_lab(site):
    site.up()
    agent = site.agent()
    kill(site.home.holder())
    os.kill(agent, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(BlockingIOError):  # until its queue is full
            while True:
                stack.enter_context(connect(site.home.agent_socket("se1"), 1.0))
        assert "namespaces removed" in site.down()
    assert not lives(agent)
    assert site.namespaces() == []


def test_an_engine_in_a_namespace_that_stays_is_cleaned(site):
    name = f"{site.prefix}-own"
    setup = [
        f"netns add {name}",
        f"-n {name} link add eth1 type veth peer name far",
        f"-n {name} addr add 10.10.10.11/24 dev eth1",
        f"-n {name} link set eth1 up",
        f"-n {name} link set far up",
    ]
    try:
        for line in setup:
            subprocess.run(["ip", *line.split()], check=True)
        site.topology.write_text(
            f"name: own\nserviceengines:\n  se1: {{se_group: Default-Group, namespace: {name}, interfaces: {{eth1: {{}}}}}}\n"
        )
        site.up()
        site.service()
        show = ["ip", "netns", "exec", name, "nft", "list", "ruleset"]
        forward = ["ip", "netns", "exec", name, "cat", "/proc/sys/net/ipv4/ip_forward"]
        assert "8080" in subprocess.run(show, capture_output=True, text=True, check=True).stdout
        agent = site.agent()
        site.down()
        addresses = subprocess.run(["ip", "-n", name, "addr"], capture_output=True, text=True, check=True).stdout
        assert "10.10.10.50" not in addresses
        assert "10.10.10.11" in addresses
        assert "avish" not in subprocess.run(show, capture_output=True, text=True, check=True).stdout
        assert subprocess.run(forward, capture_output=True, text=True, check=True).stdout.strip() == "0"
        assert not lives(agent)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)


def test_a_topology_edited_under_its_lab_is_refused(site):
    site.up()
    site.topology.write_text(site.topology.read_text() + "# a change\n")
    done = site.avishd("up", str(site.topology), "--prefix", site.prefix)
    assert done.returncode == 1
    assert "has changed since its lab was built" in done.stderr
    site.down()


def test_a_controller_whose_home_was_deleted_ends(site):
    site.up()
    handle = os.pidfd_open(site.home.holder())
    shutil.rmtree(site.home.path)
    assert select.select([handle], [], [], 30)[0], "the controller lives on"
    os.close(handle)
    done = site.avishd("down", "--prefix", site.prefix)
    assert done.returncode == 0, done.stderr
    assert site.namespaces() == []

"""Labs on the real kernel: made, used, refused, and taken away again without a trace."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane import lab, topology
from dataplane.errors import LabError

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

FOUNDING = Path(__file__).parents[2] / "fixtures" / "topologies" / "active-ftp.yaml"
LONG = "a-name-of-forty-characters-to-the-letter"

SMALL = f"""
name: small
networks:
  left:  {{subnet: [10.1.0.0/24, "2001:db8:1::/64"]}}
  right: {{subnet: 10.2.0.0/24}}
serviceengines:
  se: {{interfaces: {{eth1: {{network: left, ip: 10.1.0.9}}}}, vrfs: {{v: {{interfaces: {{eth1: {{network: right, ip: 10.2.0.9}}}}}}}}}}
hosts:
  router: {{interfaces: {{in: {{network: left, ip: [10.1.0.1, "2001:db8:1::1"]}}, out: {{network: right, ip: 10.2.0.1}}}}, forward: true,
           nft: rules.nft}}
  {LONG}: {{network: left, ip: [10.1.0.2, "2001:db8:1::2"], gateway: 10.1.0.1}}
  server: {{network: right, ip: 10.2.0.2, routes: [{{to: 10.1.0.0/24, via: 10.2.0.1}}],
           run: [[python3, -m, http.server, --directory, served, "80"], [sleep, "1000"]]}}
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[str]:
    name = f"t{os.getpid()}lab"
    yield name
    lab.destroy(name, tmp_path / "home")
    assert left_of(name) == []


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "rules.nft").write_text("table inet lab {\n chain c { type filter hook forward priority 0; }\n}\n")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "index.html").write_text("hello from the lab")
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


def build(file: Path, prefix: str, home: Path) -> lab.Lab:
    return lab.build(topology.load(file), prefix, home, home / "log")


def left_of(prefix: str) -> list[str]:
    """Namespaces and records of the lab, and of labs made of it."""
    names = os.listdir(lab.NETNS) if lab.NETNS.exists() else []
    records = os.listdir(lab.RECORDS) if lab.RECORDS.exists() else []
    return [name for name in names + records if name.startswith(prefix)]


def inside(namespace: str, *argv: str) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, *argv], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_lab_carries_traffic_and_leaves_nothing(small: Path, prefix: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    built = build(small, prefix, home)
    started = lab.start_processes(built)
    assert sorted(left_of(prefix)) == sorted([*built.namespaces, f"{prefix}.json"])
    assert "hello" in inside(f"{prefix}-{LONG}", "curl", "-s", "--max-time", "10", "http://10.2.0.2/")
    links = json.loads(inside(f"{prefix}-net", "ip", "-json", "link", "show", "type", "bridge"))
    assert [link["ifalias"] for link in links] == ["left", "right"]
    assert lab.recorded(home) == json.loads((lab.RECORDS / f"{prefix}.json").read_text())
    assert (home / "log" / "server-1.log").read_text().count("GET / ") == 1

    assert lab.destroy(prefix, home) == [f"lab {prefix}: 2 processes ended, 6 namespaces removed"]
    assert [process.popen.wait(10) for process in started] == [-signal.SIGTERM, -signal.SIGTERM]
    assert left_of(prefix) == []
    assert [entry.name for entry in home.iterdir()] == ["log"]
    assert lab.destroy(prefix, home) == [f"lab {prefix}: no record of it, nothing removed"]


def test_addresses_are_usable_at_once(small: Path, prefix: str, tmp_path: Path) -> None:
    build(small, prefix, tmp_path / "home")
    addresses = json.loads(inside(f"{prefix}-router", "ip", "-json", "address", "show", "dev", "in"))[0]["addr_info"]
    assert {entry["local"]: entry["prefixlen"] for entry in addresses if entry["scope"] == "global"} == {
        "10.1.0.1": 24,
        "2001:db8:1::1": 64,
    }
    assert not any(entry.get("tentative") for entry in addresses)
    forwarding = "/proc/sys/net/ipv4/ip_forward"
    assert inside(f"{prefix}-router", "cat", forwarding) == "1\n"
    assert inside(f"{prefix}-{LONG}", "cat", forwarding) == "0\n"
    assert "chain c" in inside(f"{prefix}-router", "nft", "list", "ruleset")
    assert inside(f"{prefix}-se-v", "ip", "-o", "link", "show", "eth1")


def test_two_labs_side_by_side(small: Path, prefix: str, tmp_path: Path) -> None:
    """One whose prefix begins with the other's, too, outlives the other."""
    home, second_home, second = tmp_path / "home", tmp_path / "second", f"{prefix}-b"
    lab.start_processes(build(small, prefix, home))
    try:
        lab.start_processes(build(small, second, second_home))
        with pytest.raises(LabError, match=f"lab {second} belongs to the home {second_home}"):
            lab.destroy(second, home)
        lab.destroy(prefix, home)
        assert len(left_of(prefix)) == 7
        assert "hello" in inside(f"{second}-{LONG}", "curl", "-s", "--max-time", "10", "http://10.2.0.2/")
    finally:
        lab.destroy(second, second_home)


def test_what_is_there_is_not_built_over(small: Path, prefix: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = build(small, prefix, home)
    with pytest.raises(LabError, match=f"is there already: avishd down --prefix {prefix} --home {home}"):
        build(small, prefix, tmp_path / "other")
    with pytest.raises(LabError, match="is there already"):
        build(small, f"{prefix}-b", home)
    assert sorted(left_of(prefix)) == sorted([*before.namespaces, f"{prefix}.json"])


def test_a_foreign_namespace_is_left_alone(small: Path, prefix: str, tmp_path: Path) -> None:
    subprocess.run(["ip", "netns", "add", f"{prefix}-server"], check=True)
    try:
        with pytest.raises(LabError, match=f"namespace {prefix}-server exists already and is no lab's"):
            build(small, prefix, tmp_path / "home")
        assert left_of(prefix) == [f"{prefix}-server"]
        assert lab.destroy(prefix, tmp_path / "home") == [f"lab {prefix}: no record of it, nothing removed"]
    finally:
        subprocess.run(["ip", "netns", "delete", f"{prefix}-server"], check=True)


def test_bad_rules_are_refused_before_anything_is_made(small: Path, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "rules.nft").write_text("table inet lab { chian }")
    with pytest.raises(LabError, match=r"small\.yaml: hosts\.router\.nft: .*rules\.nft:1"):
        build(small, prefix, tmp_path / "home")
    assert left_of(prefix) == []
    assert not (tmp_path / "home").exists()


def test_a_bad_prefix_and_missing_tools(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = topology.load(small)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LabError) as caught:
        lab.build(read, "a/b", tmp_path / "home", tmp_path / "log")
    text = str(caught.value)
    assert "prefix 'a/b'" in text
    assert "only root" in text
    assert "apt-get install nftables" in text


def test_a_failure_halfway_removes_what_was_made(small: Path, prefix: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lab, "_node_lines", lambda _: ["link set dev no-such up"])
    with pytest.raises(LabError, match=f"ip -n {prefix}-se: Cannot find device"):
        build(small, prefix, tmp_path / "home")
    assert left_of(prefix) == []
    assert lab.recorded(tmp_path / "home") is None


def test_a_process_that_ends_at_once_is_reported(small: Path, prefix: str, tmp_path: Path) -> None:
    small.write_text(SMALL.replace("[sleep, ", "[sh, -c, 'echo starting; echo no such port >&2; exit 3', "))
    built = build(small, prefix, tmp_path / "home")
    with pytest.raises(
        LabError, match=r"small\.yaml: hosts\.server\.run\[1\]: sh ended at once with status 3: no such port"
    ):
        lab.start_processes(built)


def test_stubborn_and_multiplying_processes_are_ended(small: Path, prefix: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("dataplane.processes.TERM_SECONDS", 0.2)
    build(small, prefix, tmp_path / "home")
    script = "trap '' TERM; sleep 1000 & sleep 1000 & echo ready; wait; wait"
    stubborn = subprocess.Popen(
        ["ip", "netns", "exec", f"{prefix}-server", "sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    )
    assert stubborn.stdout is not None
    with stubborn.stdout:
        assert stubborn.stdout.readline() == b"ready\n"
        lab.destroy(prefix, tmp_path / "home")
        assert stubborn.stdout.read() == b""  # nobody holds the other end any more
    stubborn.wait(10)


def test_destroy_from_inside_the_lab_is_refused(small: Path, prefix: str, tmp_path: Path) -> None:
    build(small, prefix, tmp_path / "home")
    code = f"from pathlib import Path; from dataplane import lab; lab.destroy({prefix!r}, Path({str(tmp_path / 'home')!r}))"
    argv = ["ip", "netns", "exec", f"{prefix}-server", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "this program runs inside the lab" in done.stderr
    assert left_of(prefix)


def test_killed_in_the_middle(small: Path, prefix: str, tmp_path: Path) -> None:
    """kill -9 of the builder at any moment: destroy removes what there is, and the lab can be built again."""
    home = tmp_path / "home"
    code = (
        "import sys; from pathlib import Path; from dataplane import lab, topology\n"
        f"read = topology.load({str(small)!r}); print('go', flush=True)\n"
        f"lab.start_processes(lab.build(read, {prefix!r}, Path({str(home)!r}), Path({str(home / 'log')!r})))\n"
        "print('done', flush=True)"
    )
    moments = random.Random(7)
    for _ in range(6):
        builder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert builder.stdout is not None
        with builder.stdout:
            assert builder.stdout.readline() == b"go\n"
            select.select([builder.stdout], [], [], moments.uniform(0, 0.15))
            builder.kill()
        builder.wait(10)
        lab.destroy(prefix, home)
        assert left_of(prefix) == []
    lab.start_processes(build(small, prefix, home))


def test_engines_in_namespaces_that_exist(prefix: str, tmp_path: Path) -> None:
    """They are neither made nor removed, and must have the interfaces."""
    file = tmp_path / "production.yaml"
    existing = f"{prefix}x"
    file.write_text(
        f"name: p\nserviceengines: {{a: {{namespace: {existing}, interfaces: [eth7]}}, b: {{namespace: host, interfaces: [lo0]}}}}"
    )
    with pytest.raises(LabError) as caught:
        build(file, prefix, tmp_path / "home")
    assert f"serviceengines.a.namespace: there is no network namespace '{existing}'" in str(caught.value)
    assert "serviceengines.b.interfaces.lo0: the host has none" in str(caught.value)

    subprocess.run(["ip", "netns", "add", existing], check=True)
    try:
        subprocess.run(["ip", "-n", existing, "link", "add", "eth7", "type", "bridge"], check=True)
        host = socket.if_nameindex()[1][1] if len(socket.if_nameindex()) > 1 else "lo"
        file.write_text(file.read_text().replace("lo0", host))
        if host != "lo":
            assert build(file, prefix, tmp_path / "home").namespaces == ()
            lab.destroy(prefix, tmp_path / "home")
        assert (lab.NETNS / existing).exists()
    finally:
        subprocess.run(["ip", "netns", "delete", existing], check=True)


def test_founding_lab_fetches_by_active_ftp(prefix: str, tmp_path: Path) -> None:
    """Between two hosts of one network: the servers answer in active mode from port 20, each with its own content."""
    home = tmp_path / "home"
    lab.start_processes(build(FOUNDING, prefix, home))
    for server, client, number in (("ftp1", "ftp2", 101), ("ftp2", "ftp1", 102)):
        argv = ["curl", "-s", "-v", "--max-time", "10", "--ftp-port", "-", f"ftp://10.10.40.{number}/README.txt"]
        shown = subprocess.run(
            ["ip", "netns", "exec", f"{prefix}-{client}", *argv], capture_output=True, text=True, timeout=20, check=True
        )
        assert shown.stdout == f"This file is on server {server}.\n"
        assert f"220 {server} of the active-ftp lab" in shown.stderr
    assert "drop" in inside(f"{prefix}-fw", "nft", "list", "ruleset")

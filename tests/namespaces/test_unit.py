"""The systemd unit: sound, and what it takes away is not missed by a controller with engines."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from site_lab import BIN
from test_services import service

from avish.server.sockets import listener_pid

UNIT = Path(__file__).parents[2] / "setup/avishd.service"
EXPOSURE = 5.9
PATIENCE = 60.0
READ_ONLY = """
set -eu
mount --bind "$HOME_DIR" "$HOME_DIR"
mount -t tmpfs none /var/tmp
for place in $(findmnt -rno TARGET); do
  case "$place" in "$HOME_DIR" | "$HOME_DIR"/* | /proc | /proc/* | /sys | /sys/* | /dev | /dev/* | /var/tmp) ;;
  *) mount -o remount,bind,ro "$place" ;; esac
done
exec "$@"
"""
"""ProtectSystem=strict and PrivateTmp=yes, as far as it can be had without systemd."""


def settings():
    """Of the unit's service: by key, the values of all its lines."""
    pairs = [line.split("=", 1) for line in UNIT.read_text().splitlines() if re.match(r"[A-Z]\w+=", line)]
    return {key: " ".join(value for name, value in pairs if name == key) for key, _ in pairs}


@pytest.fixture
def installed(tmp_path):
    """The unit, started from where the product is here."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/avish/bin", str(BIN)))
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_it(installed):
    done = subprocess.run(["systemd-analyze", "verify", installed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", installed],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"exposure level for avishd.service: ([\d.]+)", rated.stdout)
    assert found, rated.stderr
    assert float(found[1]) <= EXPOSURE


def words(listener, ending):
    """What systemd is told until something ends with ``ending``."""
    said, until = [], time.monotonic() + PATIENCE
    while not said or said[-1] != ending:
        assert select.select([listener], [], [], until - time.monotonic())[0], said
        said.append(listener.recv(1000).decode())
    return said


def ended(pid):
    """Send it away, and wait."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert select.select([handle], [], [], PATIENCE)[0]
    os.close(handle)


@pytest.fixture
def sandboxed(plain, tmp_path):
    """The controller of the lab and its agents, started with the rights that the unit leaves them."""
    agents = [listener_pid(path) for path in (plain.home / "run").glob("*.sock")]
    ended(listener_pid(plain.home / "avishd.sock"))
    for pid in filter(None, agents):
        ended(pid)
    rights = [f"+{word.removeprefix('CAP_').lower()}" for word in settings()["CapabilityBoundingSet"].split()]
    command = [
        "unshare", "--mount", "--propagation", "slave", "sh", "-c", READ_ONLY, "sh",
        "setpriv", f"--bounding-set=-all,{','.join(rights)}", "--inh-caps=-all", "--no-new-privs",
        BIN / "avishd", "serve", "--home", plain.home, "--prefix", plain.prefix,
        "--topology", plain.home.parent / "plain.yaml", "--ssh", "127.0.0.1:0",
    ]  # fmt: skip
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, (tmp_path / "log").open("wb") as log:
        listener.bind(str(place))
        told = {"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "600000", "HOME_DIR": str(plain.home)}
        process = subprocess.Popen(
            command, env=os.environ | told, cwd=plain.home.parent, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            yield plain, process, listener
        finally:
            process.kill()
            process.wait()
    assert plain.avishd("up", plain.home.parent / "plain.yaml").returncode == 0


@pytest.mark.root
def test_the_rights_it_leaves_are_enough(sandboxed):
    site, process, listener = sandboxed
    assert words(listener, "READY=1") == ["READY=1"]
    words(listener, "WATCHDOG=1")
    until = time.monotonic() + PATIENCE
    while site.avishd("status").stdout.count(": connected") < 2:
        assert time.monotonic() < until, site.avishd("status").stdout
    for pid in (process.pid, listener_pid(site.home / "run" / "se1.sock")):
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"NoNewPrivs:\s+1\n", status)
        assert not int(re.search(r"CapBnd:\s+(\w+)", status)[1], 16) & (1 << 16 | 1 << 19)  # modules, ptrace
    service(site, "unit", "10.77.1.61")
    assert site.call("c1", "tcp", "10.77.1.61", 80)[0].startswith("s")
    assert site.avishd("backup", site.home / "unit.tar").returncode == 0
    agent = listener_pid(site.home / "run" / "se1.sock")
    process.terminate()
    assert "STOPPING=1" in words(listener, "STOPPING=1")
    assert process.wait(PATIENCE) == 0
    assert listener_pid(site.home / "run" / "se1.sock") == agent

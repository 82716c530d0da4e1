"""OpenSSH's own server in front of the shell, and older libraries that drive it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sshrig import BIN, OPTIONS, PASSWORD, run

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/allowed
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding no
X11Forwarding no
PermitTunnel no
ForceCommand {avish} --home {home}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def sshd(controller, tmp_path_factory):
    """The port of a server whose every session is the shell, as docs/installation.md has it; root is admin."""
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("OpenSSH's server is not here, or nobody may start it")
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"])
    shutil.copy(f"{controller.key}.pub", folder / "allowed")
    config = CONFIG.format(port=port, folder=folder, avish=BIN / "avish", home=controller.home)
    (folder / "config").write_text(config)
    log = (folder / "log").open("wb")
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=log)
    until = time.monotonic() + 20
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until
    yield port
    server.terminate()
    server.wait(10)
    log.close()


def ssh(controller, port, *words, options=(), stdin=""):
    where = ["-i", controller.key, "-p", str(port), *options, "root@127.0.0.1"]
    return run(["ssh", *OPTIONS, *where, *words], input=stdin, timeout=60)


class TestForceCommand:
    def test_a_command_and_its_exit_status(self, controller, sshd):
        done = ssh(controller, sshd, "show tenant")
        assert (done.returncode, "| admin | admin |" in done.stdout) == (0, True), done.stderr
        refused = ssh(controller, sshd, "show nothing-such")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "unknown word 'nothing-such'" in refused.stderr

    def test_a_runbook(self, controller, sshd):
        lines = "configure pool by-openssh\ndescription x\nsave\nshow pool by-openssh | grep description\n"
        done = ssh(controller, sshd, options=["-T"], stdin=lines)
        assert (done.returncode, "| x" in done.stdout) == (0, True), done.stderr
        done = ssh(controller, sshd, options=["-tt"], stdin="show tenant\nexit\n")
        assert (done.returncode, "| admin | admin |" in done.stdout) == (0, True), done.stdout

    def test_no_other_program_is_reached(self, controller, sshd):
        assert ssh(controller, sshd, "/bin/sh -c id").returncode == 2
        assert ssh(controller, sshd, options=["-W", "127.0.0.1:22"]).returncode != 0


OLD = Path(sys.prefix) / "scrapli1"
DRIVE = """
import sys
from scrapli.driver import GenericDriver
from avish.clients.scrapli import PROMPT
host, port, key, password = sys.argv[1:]
with GenericDriver(host, port=int(port), auth_username="admin", auth_private_key=key, auth_strict_key=False,
                   comms_prompt_pattern=PROMPT, transport="system",
                   transport_options={"open_cmd": ["-o", "UserKnownHostsFile=/dev/null", "-F", "none"]}) as shell:
    print(shell.send_command("show tenant").result)
    for line in ("configure pool by-old-scrapli", "servers ip 10.0.0.1", "save", "save"):
        shell.send_command(line)
    print(shell.send_command("show pool by-old-scrapli").result)
"""


class TestOldScrapli:
    """The release before the one in the environment has the same name: it lies beside."""

    def test_its_generic_driver(self, controller):
        if not OLD.is_dir():
            pytest.skip("no scrapli 1 in the environment (make setup puts it there)")
        where = ["127.0.0.1", str(controller.port), controller.key, PASSWORD]
        path = os.pathsep.join([str(OLD), str(Path(__file__).parents[2])])
        done = run([sys.executable, "-c", DRIVE, *where], env={**os.environ, "PYTHONPATH": path}, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "| admin | admin |" in done.stdout
        assert "10.0.0.1" in done.stdout
        assert "\x1b" not in done.stdout

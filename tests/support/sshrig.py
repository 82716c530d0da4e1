"""A real controller with its SSH front, as ``avishd serve --ssh`` starts it; no engines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("asyncssh")
BIN = Path(sys.executable).parent
PASSWORD = "Correct-horse-1"
OPTIONS = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
           "-o", "IdentitiesOnly=yes", "-F", "none"]  # fmt: skip


def run(command, **more):
    return subprocess.run(command, check=False, capture_output=True, text=True, **more)


class Controller:
    """``home``, ``port`` of SSH; ``key``: a private key of admin's."""

    def __init__(self, home: Path) -> None:
        self.home, self.key = home, home.parent / "key"
        self.log = (home.parent / "log").open("wb")
        command = [BIN / "avishd", "serve", "--home", home, "--ssh", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=self.log, stdin=subprocess.DEVNULL)
        self.listens = self._listens()
        self.port = int(self.listens["ssh"].split()[-1])
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key])
        self.avishd("key", "admin", f"{self.key}.pub")
        self.avishd("passwd", "admin", stdin=PASSWORD + "\n")

    def _listens(self):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self.process.poll() is None, self.said()
            done = run([BIN / "avishd", "status", "--json", "--home", self.home])
            if done.returncode == 0:
                return json.loads(done.stdout)["listens"]
        raise AssertionError(self.said())

    def said(self):
        return (self.home.parent / "log").read_text()

    def avishd(self, *words, stdin=""):
        done = run([BIN / "avishd", *words, "--home", self.home], input=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def local(self, *lines):
        """Lines of the shell, at the local socket."""
        words = [word for line in lines for word in ("-c", line)]
        done = run([BIN / "avish", "--home", self.home, *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ssh(self, *words, stdin="", user="admin", key=None, options=(), check=False):
        command = ["ssh", *OPTIONS, "-i", key or self.key, "-p", str(self.port), *options, f"{user}@127.0.0.1", *words]
        done = run(command, input=stdin, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done

    def fetch(self, program, *words):
        command = [program, *OPTIONS, "-i", self.key, "-P", str(self.port), *words]
        return run(command, timeout=60, stdin=subprocess.DEVNULL)

    def front_pid(self):
        found = run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)])
        return int(found.stdout.split()[0])

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="session")
def controller():
    if shutil.which("ssh") is None:
        pytest.skip("no OpenSSH client here")
    folder = Path(tempfile.mkdtemp(prefix="avs"))  # short: a Unix socket's path has 107 bytes
    folder.chmod(0o755)
    os.environ.pop("SSH_AUTH_SOCK", None)
    controller = Controller(folder / "h")
    yield controller
    controller.close()
    shutil.rmtree(folder)

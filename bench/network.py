"""SSH and HTTPS of a controller without engines: what many clients cost, and what one gets.

Run by itself it prints its figures only.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, p95

ROOT = Path(__file__).resolve().parent.parent
SESSIONS = 200
COMMANDS = 20
READS, WRITES = 1000, 200
PASSWORD = "Bench-horse-1"


class Controller:
    """``avishd serve`` in a home of its own."""

    def __init__(self, bin_dir):
        self.bin = Path(bin_dir)
        self.folder = tempfile.TemporaryDirectory(prefix="avnet")
        self.home = Path(self.folder.name) / "h"
        command = [self.bin / "avishd", "serve", "--home", self.home, "--ssh", "127.0.0.1:0", "--https", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def __enter__(self):
        until = time.monotonic() + 60
        while (status := self._avishd("status", "--json")).returncode and time.monotonic() < until:
            pass
        self.listens = json.loads(status.stdout)["listens"]
        key = Path(self.folder.name) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self._avishd("key", "admin", f"{key}.pub")
        self._avishd("passwd", "admin", text=PASSWORD + "\n")
        self.key = str(key)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.folder.cleanup()

    def _avishd(self, *words, text=""):
        command = [self.bin / "avishd", *words, "--home", self.home]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def port(self, kind):
        return int(self.listens[kind].split()[-1])

    def front_megabytes(self):
        found = subprocess.run(
            ["ps", "-o", "rss=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        return max(int(line) for line in found.stdout.split()) / 1024


async def _connected(controller, user="admin", **more):
    import asyncssh

    options = {"username": user, "client_keys": [controller.key], "known_hosts": None, **more}
    return await asyncssh.connect("127.0.0.1", controller.port("ssh"), **options)


HUMAN = {"client_version": "OpenSSH_9.2"}
"""By the name of a library the front would know that nobody looks at the terminal."""


async def _to_prompt(controller):
    """Milliseconds from the connection to the prompt of a person's shell, which asks where the cursor is."""
    began = time.perf_counter()
    connection = await _connected(controller, **HUMAN)
    process = await connection.create_process(term_type="xterm", term_size=(100, 30), encoding=None)
    seen, asked = b"", 0
    while b"]: " not in seen:
        data = await process.stdout.read(65536)
        seen += data
        for _ in range(data.count(b"\x1b[6n")):
            process.stdin.write(b"\x1b[1;1R")
            asked += 1
    if not asked:
        raise AssertionError("nobody asked for the cursor: this was no person's terminal")
    took = (time.perf_counter() - began) * 1000
    connection.close()
    return took


async def _many(controller):
    """(megabytes of the front with all sessions open, commands a second of all together)."""
    gate = asyncio.Semaphore(10)

    async def one():
        async with gate:
            connection = await _connected(controller)
            process = await connection.create_process(term_type="dumb")
            await process.stdout.readuntil("> ")
            return connection, process

    found = await asyncio.gather(*(one() for _ in range(SESSIONS)))
    megabytes = controller.front_megabytes()

    async def busy(process):
        for _ in range(COMMANDS):
            process.stdin.write("where\r")
            await process.stdout.readuntil("> ")

    began = time.perf_counter()
    await asyncio.gather(*(busy(process) for _, process in found))
    rate = SESSIONS * COMMANDS / (time.perf_counter() - began)
    for connection, _ in found:
        connection.close()
    return megabytes, rate


def _rest(controller):
    """(reads a second, p99 of them in milliseconds, writes a second) on one connection."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from httpsrig import Web

    web = Web(controller.port("https"))
    web.log_in(password=PASSWORD)
    _, _, pool = web.ask("POST", "/api/pool", {"name": "bench"})
    path = f"/api/pool/{pool['uuid']}"
    took = list(_reads(controller.port("https"), path, web.headers["Cookie"]))
    began = time.perf_counter()
    for number in range(WRITES):
        web.ask("PATCH", path, {"replace": {"description": str(number)}})
    return READS / sum(took), sorted(took)[int(READS * 0.99)] * 1000, WRITES / (time.perf_counter() - began)


def _reads(port, path, cookie):
    """Seconds of each read, by a client that costs next to nothing (http.client takes longer than the server)."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    request = f"GET {path} HTTP/1.1\r\nHost: c\r\nCookie: {cookie}\r\n\r\n".encode()
    with trust.wrap_socket(socket.create_connection(("127.0.0.1", port))) as wire, wire.makefile("rb") as answers:
        for _ in range(READS):
            began = time.perf_counter()
            wire.sendall(request)
            status, length = answers.readline(), 0
            while (line := answers.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            body = answers.read(length)
            yield time.perf_counter() - began
            if b" 200 " not in status or not body.endswith(b"}"):
                raise AssertionError(status)


def figures(bin_dir):
    """All of them."""
    with Controller(bin_dir) as controller:
        prompts = [asyncio.run(_to_prompt(controller)) for _ in range(12)][2:]
        yield _least("ssh: login by key to prompt, p95", p95(prompts), 200, "ms")
        megabytes, rate = asyncio.run(_many(controller))
        yield _least(f"ssh: front with {SESSIONS} plain sessions", megabytes, 350, "MB")
        yield _most(f"ssh: commands of {SESSIONS} plain sessions", rate, 1000)
        reads, p99, writes = _rest(controller)
        yield _most("rest: reads of one object, one connection", reads, 1500)
        yield _least("rest: such a read, p99", p99, 50, "ms")
        yield _most("rest: changes with commit, one connection", writes, 100)


def _least(name, value, limit, unit):
    return Figure(name, value, 0, unit, f"at most {limit} {unit}", value <= limit, "-")


def _most(name, value, limit):
    return Figure(name, value, 0, "/s", f"at least {limit}/s", value >= limit, "-")


if __name__ == "__main__":
    for figure in figures(Path(sys.executable).parent):
        print(
            f"{figure.name}: {figure.value:,.1f} {figure.unit} ({figure.target}: {'met' if figure.met else 'MISSED'})"
        )

"""make soak: many sessions change things while agents, the SSH front and the controller are killed.

Builds a lab of its own (root is needed) and leaves nothing behind. Exit 1 when an answered change is gone, an answer is
wrong, or memory, descriptors or namespaces grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncssh

from avish.server.sockets import listener_pid

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TOPOLOGY = ROOT / "fixtures" / "topologies" / "active-ftp.yaml"
PROMPT = re.compile(r"\[admin:[^\]]+\]: [\w:]*> $")
PATIENCE = 60.0
GROWTH_MB, GROWTH_FDS = 60, 40


def run(*words, text="", check=True):
    done = subprocess.run([str(word) for word in words], input=text, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.stderr}")
    return done


class Site:
    """A lab with its controller, reached over SSH."""

    def __init__(self, folder):
        self.home, self.prefix, self.key = Path(folder) / "h", f"soak{os.getpid()}", Path(folder) / "key"
        self.port = random.randint(20_000, 40_000)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        self.up()
        self.avishd("key", "admin", f"{self.key}.pub")

    def avishd(self, *words, check=True):
        return run(BIN / "avishd", *words, "--home", self.home, check=check)

    def up(self):
        self.avishd("up", TOPOLOGY, "--prefix", self.prefix, "--ssh", f"127.0.0.1:{self.port}")

    def down(self):
        self.avishd("down", "--prefix", self.prefix)

    def status(self):
        done = self.avishd("status", "--json", check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def pids(self):
        """The controller, and the SSH front below it."""
        pid = self.status()["pid"]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def weight(self):
        """(MB, descriptors) of controller and front."""
        total, files = 0, 0
        for pid in self.pids():
            status = Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+)", status)
            total += int(found[1]) // 1024 if found else 0
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return total, files


class Worker:
    """One session that counts up in a pool of its own, and remembers what was answered."""

    def __init__(self, site, number):
        self.site, self.name = site, f"soak-{number}"
        self.kept, self.tried, self.wrong = 0, 0, []

    async def work(self, until):
        while time.monotonic() < until:
            try:
                await asyncio.wait_for(self._session(until), PATIENCE + until - time.monotonic())
            except (OSError, asyncssh.Error, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.sleep(random.uniform(0.2, 1.0))  # the front or the controller was killed: again

    async def _session(self, until):
        options = {"username": "admin", "client_keys": [str(self.site.key)], "known_hosts": None}
        async with asyncssh.connect("127.0.0.1", self.site.port, **options) as connection:
            process = await connection.create_process(term_type="dumb")
            await self._answer(process)
            while time.monotonic() < until:
                await self._count(process)

    async def _count(self, process):
        number = self.tried = self.tried + 1
        for line in (f"configure pool {self.name}", f"description n{number}"):
            await self._ask(process, line)
        said = await self._ask(process, "save")
        if "error" not in said and "internal" not in said:
            self.kept = number
        elif "internal" in said:
            self.wrong.append(said)
        await self._ask(process, "cancel" if "error" in said else "where")
        shown = await self._ask(process, f"show pool {self.name} | grep description")
        found = re.search(r"\| n(\d+) ", shown)
        if found and int(found[1]) < self.kept:
            self.wrong.append(f"{self.name} shows {found[1]}, {self.kept} was answered")

    async def _ask(self, process, line):
        process.stdin.write(line + "\r")
        return await self._answer(process)

    @staticmethod
    async def _answer(process):
        text = ""
        while not PROMPT.search(text):
            piece = await asyncio.wait_for(process.stdout.read(65536), PATIENCE)
            if not piece:
                raise ConnectionError
            text += piece
        return text


async def kill_things(site, until):
    """Every few seconds something dies: an agent, the front, the controller."""
    kills = 0
    while time.monotonic() < until - 15:
        await asyncio.sleep(random.uniform(4, 8))
        victim = ("agent", "front", "controller")[kills % 3]
        pids = await asyncio.to_thread(lambda: site.pids() if site.status() else [])
        if victim == "agent":
            pid = await asyncio.to_thread(listener_pid, site.home / "run" / "se1.sock")
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        elif len(pids) > 1 or (victim == "controller" and pids):
            os.kill(pids[1 if victim == "front" else 0], signal.SIGKILL)
        if victim == "controller":
            await asyncio.to_thread(site.up)
        kills += 1
    return kills


async def soak(site, sessions, seconds):
    workers = [Worker(site, number) for number in range(sessions)]
    until = time.monotonic() + seconds
    results = await asyncio.gather(kill_things(site, until), *(worker.work(until) for worker in workers))
    return workers, results[0]


def verdict(site, workers):
    """What is wrong, in words."""
    wrong = [text for worker in workers for text in worker.wrong]
    done = run(BIN / "avish", "--home", site.home, "--json", "-c", "show pool")
    held = {one["name"]: one.get("description", "") for one in json.loads(done.stdout)["results"]}
    for worker in workers:
        found = re.fullmatch(r"n(\d+)", held.get(worker.name, "n0"))
        if found is None or not worker.kept <= int(found[1]) <= worker.tried:
            wrong.append(f"{worker.name}: {held.get(worker.name)!r} is kept, n{worker.kept} was answered")
    check = site.avishd("check", check=False)
    return wrong + ([] if check.returncode == 0 else [check.stdout.strip()])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--sessions", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avsoak") as folder:
        Path(folder).chmod(0o711)
        site = Site(folder)
        try:
            asyncio.run(soak(site, options.sessions, min(20, options.seconds)))
            before = site.weight()
            workers, kills = asyncio.run(soak(site, options.sessions, options.seconds))
            wrong, after = verdict(site, workers), site.weight()
        finally:
            site.down()
        spaces = run("ip", "netns", "list").stdout.count(site.prefix)
    grown = after[0] - before[0] > GROWTH_MB or after[1] - before[1] > GROWTH_FDS
    print(f"{sum(worker.kept for worker in workers)} changes of {options.sessions} sessions, {kills} kills")
    print(f"memory {before[0]} -> {after[0]} MB, descriptors {before[1]} -> {after[1]}, namespaces left {spaces}")
    print("\n".join(wrong[:20]) or "nothing was lost, every answer was right")
    return 1 if wrong or grown or spaces else 0


if __name__ == "__main__":
    sys.exit(main())

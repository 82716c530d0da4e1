"""make soak: many sessions change things, captures run, engines take over from each other and files are transferred,
while agents, the SSH front and the controller are killed.

In the first third everything is killed; then the controller, its front and one agent live on, so that what they leak
can be seen. Builds a lab of its own (root is needed) and leaves nothing behind. Exit 1 when an answered change is
gone, an answer or a transfer is wrong, or memory, descriptors, processes, namespaces or rules grow.
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
CHANGES = 100
"""Of one session; then it logs in anew."""
GROWTH_MB, GROWTH_FDS, GROWTH_PROCESSES = 60, 40, 4
OUTAGE_SECONDS = 25.0
"""Without one file transferred; an agent that was killed and a controller that comes back are within it."""
RUNBOOK = ROOT / "fixtures" / "runbooks" / "active-ftp.avi"
SERVED = {(ROOT / "fixtures/topologies/ftp" / name / "README.txt").read_text() for name in ("ftp1", "ftp2")}
FETCH = ("curl", "-sS", "--max-time", "5", "--ftp-port", "10.10.20.100", "ftp://10.10.10.50/README.txt")
ENGINES = ("se1", "se2")
START = "debug serviceengine {0}\nflags flag debug_pcap_nat\nsave\nsave\n"
STOP = "debug serviceengine {0}\nno flags debug_pcap_nat\nsave\n"


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
        run(BIN / "avish", "--home", self.home, "--min-output", "--file", RUNBOOK)
        self.killed = 0
        """How often something was killed so far."""

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
        """(MB, descriptors) of controller, front and the agent that lives on; (processes, rules) of the engines."""
        total, files = 0, 0
        for pid in [*self.pids(), listener_pid(self.home / "run" / "se2.sock")]:
            status = Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+)", status)
            total += int(found[1]) // 1024 if found else 0
            files += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        spaces = [f"{self.prefix}-{name}" for name in ENGINES]
        processes = sum(len(run("ip", "netns", "pids", name).stdout.split()) for name in spaces)
        rules = [sum(self._rules(name)) for name in spaces]
        return total, files, processes, sum(rules)

    @staticmethod
    def _rules(space):
        """Of each thing that nftables lists there but elements, which come and go."""
        listed = json.loads(run("ip", "netns", "exec", space, "nft", "-j", "-t", "list", "ruleset").stdout)
        return ["metainfo" not in one for one in listed["nftables"]]

    async def shell(self, script, *options):
        """(exit status, output, what was said) of a script at the local socket."""
        words = [BIN / "avish", "--home", self.home, "--min-output", *options]
        done = await asyncio.to_thread(run, *words, text=script, check=False)
        return done.returncode, done.stdout, done.stderr


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
            for _ in range(CHANGES):
                if time.monotonic() < until:
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


async def kill_things(site, until, victims):
    """Every few seconds something dies."""
    kills = 0
    while time.monotonic() < until - 15:
        await asyncio.sleep(random.uniform(4, 8))
        victim = victims[kills % len(victims)]
        pids = await asyncio.to_thread(lambda: site.pids() if site.status() else [])
        site.killed += 1
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


async def capture_things(site, until, wrong):
    """Captures, one after the other; how many there were. One that nothing disturbed has a file that holds packets."""
    count = 0
    while time.monotonic() < until - 15:
        name, killed, began = ENGINES[count % 2], site.killed, time.time()
        told = [await site.shell(START.format(name))]
        await asyncio.sleep(random.uniform(2, 5))
        told.append(await site.shell(STOP.format(name)))
        undisturbed = killed == site.killed and not any(status for status, _, _ in told)
        files = [path for path in (site.home / "captures").rglob("*.pcapng") if path.stat().st_mtime >= began]
        if undisturbed and not files:
            wrong.append(f"a capture on {name} left no file")
        count += undisturbed
        wrong += [said for _, _, said in told if "internal" in said]
    for name in ENGINES:
        await site.shell(STOP.format(name))
    return count


async def take_over(site, until, wrong):
    """The other engine takes over, by command and because the active one fails; how often."""
    count = tried = 0
    while time.monotonic() < until - 15:
        await asyncio.sleep(random.uniform(6, 10))
        line = ("drill failover", "switchover serviceengine se1", "drill failover", "switchover serviceengine se2")
        status, _, said = await site.shell(line[tried % len(line)] + "\n", "--json")
        count, tried = count + (status == 0), tried + 1
        if "internal" in said or status not in (0, 1, 69):
            wrong.append(f"{line[tried % len(line)]}: {status} {said}")
    return count


async def transfer(site, until, wrong):
    """Files over active FTP; how many."""
    count, last, longest = 0, time.monotonic(), 0.0
    while time.monotonic() < until:
        words = ("ip", "netns", "exec", f"{site.prefix}-client1", *FETCH)
        done = await asyncio.to_thread(run, *words, check=False)
        if done.returncode == 0 and done.stdout not in SERVED:
            wrong.append(f"a file came that nobody serves: {done.stdout[:100]!r}")
        if done.returncode == 0:
            count, longest, last = count + 1, max(longest, time.monotonic() - last), time.monotonic()
        await asyncio.sleep(0.3)
    longest = max(longest, time.monotonic() - last)
    if longest > OUTAGE_SECONDS:
        wrong.append(f"no file came for {longest:.1f} s")
    return count, longest


async def soak(site, sessions, seconds, victims):
    """(the workers, kills, captures, takings over, (files, seconds without one), what went wrong)."""
    workers, wrong = [Worker(site, number) for number in range(sessions)], []
    until = time.monotonic() + seconds
    kills, captures, takings, files, *_ = await asyncio.gather(
        kill_things(site, until, victims),
        capture_things(site, until, wrong),
        take_over(site, until, wrong),
        transfer(site, until, wrong),
        *(worker.work(until) for worker in workers),
    )
    return workers, (kills, captures, takings, *files), wrong


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


def _in_step(site):
    """Wait until every engine holds the configuration again."""
    until = time.monotonic() + PATIENCE
    while any(one["status"] != "connected" for one in (site.status() or {"engines": [{"status": ""}]})["engines"]):
        if time.monotonic() > until:
            raise SystemExit("the engines do not come back in step")
        time.sleep(0.2)


def both_halves(site, options):
    """All that is killed, then what lives on: (what was wrong, weights before and after the second half)."""
    first = asyncio.run(soak(site, options.sessions, options.seconds / 3, ("agent", "front", "controller")))
    _in_step(site)
    wrong = first[2] + verdict(site, first[0])
    print(_told(first), flush=True)
    asyncio.run(soak(site, options.sessions, min(20, options.seconds), ("agent",)))  # what is used once is there then
    _in_step(site)
    before = site.weight()
    second = asyncio.run(soak(site, options.sessions, options.seconds * 2 / 3, ("agent",)))
    _in_step(site)
    print(_told(second), flush=True)
    return wrong + second[2] + verdict(site, second[0]), before, site.weight()


def _told(phase):
    workers, (kills, captures, takings, files, longest), _ = phase
    changes = sum(worker.kept for worker in workers)
    return (
        f"{changes} changes of {len(workers)} sessions, {kills} kills, {captures} captures, {takings} takings over, "
        f"{files} files (longest without one {longest:.1f} s)"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--sessions", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="avsoak") as folder:
        Path(folder).chmod(0o711)
        site = Site(folder)
        try:
            wrong, before, after = both_halves(site, options)
        finally:
            site.down()
        spaces = run("ip", "netns", "list").stdout.count(site.prefix)
    limits = (GROWTH_MB, GROWTH_FDS, GROWTH_PROCESSES, 0)
    grown = any(new - old > limit for old, new, limit in zip(before, after, limits, strict=True))
    names = ("MB", "descriptors", "processes", "rules and tables")
    print(", ".join(f"{old} -> {new} {name}" for old, new, name in zip(before, after, names, strict=True)))
    print(f"namespaces left: {spaces}")
    print("\n".join(wrong[:20]) or "nothing was lost, every answer was right")
    return 1 if wrong or grown or spaces else 0


if __name__ == "__main__":
    sys.exit(main())

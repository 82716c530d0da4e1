"""What an engine's kernel costs with 10,000 services of four servers: load, change, read. No controller.

Run by itself it prints its figures only.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from figures import Figure

from dataplane import agent, counters, nft, nftrun, ruleset
from dataplane.diff import diff
from dataplane.health_model import Watch
from dataplane.local import LocalDriver
from dataplane.model import Address, Listener, Service, SeState
from dataplane.rulewords import BOTH

MANY, FEW = 10_000, 10
TURNS = 15
LOAD_RATIO, CHANGE_RATIO = 2.0, 3.0
CHANGE_MS, READ_MS, FLIP_MS, IDLE_MS, MEMORY_MB, AGAIN_MS = 40, 500, 10, 20, 300, 1000


SERVERS = (("172.30.0.1", 80), ("172.30.0.2", 80), ("172.30.0.3", 80))


def state_of(count):
    """Services, of which one has a pool that is watched."""
    services = {number: service_of(number) for number in range(1, count + 1)}
    services[7] = replace(services[7], slots=SERVERS, pools=("p",))
    return SeState(services=services, pools={"p": Watch(SERVERS, ())})


def service_of(number):
    place = divmod(number, 250)
    slots = tuple((f"172.16.{place[0]}.{place[1] + 1}", 8080 + server) for server in range(4))
    return Service(
        number,
        (Listener(f"10.20.{place[0]}.{place[1] + 1}", "tcp", 80, 80),),
        "least_connections",
        slots,
        idle=(("tcp", 300),),
    )


class Engine:
    """A driver that holds ``count`` services, in a namespace of its own."""

    def __init__(self, count):
        self.folder = tempfile.TemporaryDirectory(prefix="avish-bench-")
        self.memory = Path(self.folder.name) / "tables"
        self.held, self.revision, self.driver = state_of(count), 1, LocalDriver(self.memory)
        self.load_seconds = timed(lambda: self.driver.sync(self.held, 1))

    def change(self, turn):
        """Another server for one service: checked and applied."""
        service = replace(self.held.services[5], slots=((f"172.31.0.{turn + 1}", 80),) * 4)
        wanted = replace(self.held, services={**self.held.services, 5: service})
        plan = diff(self.held, wanted)
        self.driver.check(plan)
        self.driver.apply(plan, self.revision, self.revision + 1)
        self.held, self.revision = wanted, self.revision + 1

    def flip(self, turn):
        """A server of one pool fails, or comes back: new connections go elsewhere."""
        usable = SERVERS if turn % 2 else SERVERS[:2]
        self.driver.use({"p": frozenset(usable)}, ["p"])

    def again(self):
        """A driver that starts on what is there: of an agent that was killed."""
        other = LocalDriver(self.memory)
        other.sync(self.held, self.revision)

    def floor(self):
        """nft alone, on the same rules, in place of what is there."""
        text = "".join(nft.replacement(ruleset.render(self.held, words)) for words in BOTH)
        return timed(lambda: nftrun.load(text))


def timed(act):
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def median_ms(act):
    return statistics.median([timed(lambda: act(turn)) * 1000 for turn in range(TURNS)])  # noqa: B023


def work_ms(act):
    """The processor time of an act, the median of some."""
    found = []
    for turn in range(TURNS):
        began = time.process_time()
        act(turn)
        found.append((time.process_time() - began) * 1000)
    return statistics.median(found)


def resident_mb():
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def figures():
    """All figures."""
    name = f"bench{os.getpid()}k"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with ThreadPoolExecutor(1) as thread:
            yield from thread.submit(lambda: list(_inside(name))).result()  # in the thread: it enters the namespace
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def announced():
    """The load with the VIPs set on an interface and told to its neighbours, in a namespace of its own."""
    for words in (
        "link add eth1 type veth peer name eth2",
        "addr add 10.20.255.1/16 dev eth1",
        "link set eth1 up",
        "link set eth2 up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    state = state_of(MANY)
    vips = {one.ip: Address(one.ip, "eth1", "vip") for service in state.services.values() for one in service.listeners}
    nftrun.remove()
    state = replace(state, addresses=vips)
    load = timed(lambda: LocalDriver().sync(state, 1)) * 1000
    text = "".join(nft.replacement(ruleset.render(state, words)) for words in BOTH)
    floor = timed(lambda: nftrun.load(text)) * 1000
    name, met = f"load {MANY} services, their VIPs announced", load <= LOAD_RATIO * floor
    return Figure(name, load, floor, "ms", f"<= {LOAD_RATIO:g} x", met, "nft -f of the same rules")


def _inside(name):
    agent.enter(name)
    few = median_ms(Engine(FEW).change)
    engine = Engine(MANY)
    many, read = median_ms(engine.change), median_ms(lambda _: counters.counters())
    again = timed(engine.again) * 1000
    load, floor = engine.load_seconds * 1000, engine.floor() * 1000
    met = load <= LOAD_RATIO * floor
    yield Figure(f"load {MANY} services", load, floor, "ms", f"<= {LOAD_RATIO:g} x", met, "nft -f of the same rules")
    met = many <= CHANGE_MS and many <= CHANGE_RATIO * few
    target = f"<= {CHANGE_MS} ms and {CHANGE_RATIO:g} x"
    yield Figure(f"change one of {MANY} services", many, few, "ms", target, met, f"one of {FEW}")
    yield Figure(
        f"a driver started again on {MANY} services", again, 0, "ms", f"<= {AGAIN_MS} ms", again <= AGAIN_MS, "none"
    )
    flip, idle, memory = work_ms(engine.flip), work_ms(lambda _: engine.driver.balance()), resident_mb()
    yield Figure("health flip, work", flip, 0, "ms", f"<= {FLIP_MS} ms", flip <= FLIP_MS, "none")
    yield Figure("weighing at rest, work a second", idle, 0, "ms", f"<= {IDLE_MS} ms", idle <= IDLE_MS, "none")
    yield Figure(
        f"memory at rest with {MANY} services", memory, 0, "MB", f"<= {MEMORY_MB}", memory <= MEMORY_MB, "none"
    )
    yield Figure(f"read {MANY} counters", read, 0, "ms", f"<= {READ_MS} ms", read <= READ_MS, "none")
    yield announced()


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.name}: {figure.value:.1f} {figure.unit}, floor {figure.floor:.1f}, met {figure.met}")

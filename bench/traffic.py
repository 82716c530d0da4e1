"""Packets through one service and through 10,000, beside plain routing and HAProxy: connections a second, Gbit/s.

Client, engine and server share the processors of one machine with the generator: the ratios count, not the numbers.
Needs iperf3 and haproxy (apt-get install iperf3 haproxy). Run by itself it prints its figures only.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures import Figure
from kernel import MANY, service_of

from dataplane import agent
from dataplane.local import LocalDriver
from dataplane.model import Address, Listener, Service, SeState

SERVER, VIP, PROXY = "10.62.0.2", "10.61.0.50", "10.61.0.1"
ECHO, STREAM = 7000, 5201
SECONDS, ROUNDS = 2.0, 3
TOOLS = ("iperf3", "haproxy")
RESET = struct.pack("ii", 1, 0)
PROXY_TEXT = """
global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen echo
  bind {proxy}:{echo}
  server one {server}:{echo}
listen stream
  bind {proxy}:{stream}
  server one {server}:{stream}
"""


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


class Wires:
    """client 10.61.0.9 - engine 10.61.0.1, 10.62.0.1 - server 10.62.0.2, each a namespace."""

    def __init__(self):
        self.prefix = f"bench{os.getpid()}t"
        self.programs = []

    def name(self, host):
        return f"{self.prefix}{host}"

    def __enter__(self):
        for host in "ces":
            run("ip", "netns", "add", self.name(host))
            run("ip", "-n", self.name(host), "link", "set", "lo", "up")
        for host, network, last in (("c", "10.61.0", 9), ("s", "10.62.0", 2)):
            near, far = self.name("e"), self.name(host)
            run("ip", "-n", near, "link", "add", f"to{host}", "type", "veth", "peer", "name", "eth0", "netns", far)
            for namespace, device, own in ((near, f"to{host}", f"{network}.1"), (far, "eth0", f"{network}.{last}")):
                run("ip", "-n", namespace, "addr", "add", f"{own}/24", "dev", device)
                run("ip", "-n", namespace, "link", "set", device, "up")
            run("ip", "-n", far, "route", "add", "default", "via", f"{network}.1")
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.terminate()
            if isinstance(program, subprocess.Popen):
                program.wait(10)
            else:
                program.join(10)
        for host in "ces":
            run("ip", "netns", "del", self.name(host))

    def start(self, host, *words):
        process = subprocess.Popen(["ip", "netns", "exec", self.name(host), *words], stdout=subprocess.DEVNULL)
        self.programs.append(process)


def echo(namespace, ready):
    """A server that answers each connection's five bytes."""
    agent.enter(namespace)
    with socket.create_server(("0.0.0.0", ECHO), backlog=4096) as listener:
        ready.set()
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(connection.recv(5))


def dial(namespace, address, results):
    """Connections one after another for a while: how many a second."""
    agent.enter(namespace)
    count, deadline = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < deadline:
        with socket.socket() as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            caller.settimeout(5)
            caller.connect((address, ECHO))
            caller.sendall(b"hello")
            caller.recv(5)
        count += 1
    results.put(count / SECONDS)


def rate(wires, address):
    """Connections a second of two callers at once."""
    results = multiprocessing.Queue()
    callers = [multiprocessing.Process(target=dial, args=(wires.name("c"), address, results)) for _ in range(2)]
    for caller in callers:
        caller.start()
    found = [results.get(timeout=30) for _ in callers]
    for caller in callers:
        caller.join()
    return sum(found)


def gigabits(wires, address):
    """One stream of TCP, in Gbit/s."""
    words = ["ip", "netns", "exec", wires.name("c"), "iperf3", "-J", "-t", str(int(SECONDS)), "-c", address]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


def services(count):
    """One that is used, the rest beside it."""
    listeners = tuple(Listener(VIP, "tcp", port, port) for port in (ECHO, STREAM))
    used = Service(20_000, listeners, "round_robin", ((SERVER, 0),), keep_port=True)
    others = {number: service_of(number) for number in range(1, count)}
    return SeState({VIP: Address(VIP, "toc", "vip")}, services={**others, used.id: used}, switches={"routing": True})


def figures():
    """All figures; none without the tools, which is said."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"traffic is not measured: {', '.join(missing)} not installed (apt-get install {' '.join(missing)})")
        return
    with Wires() as wires, tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as inside:
        ready = multiprocessing.Event()
        server = multiprocessing.Process(target=echo, args=(wires.name("s"), ready), daemon=True)
        wires.programs.append(server)
        server.start()
        ready.wait(10)
        wires.start("s", "iperf3", "-s")
        conf = Path(folder) / "haproxy.cfg"
        conf.write_text(PROXY_TEXT.format(proxy=PROXY, server=SERVER, echo=ECHO, stream=STREAM))
        wires.start("e", "haproxy", "-db", "-f", str(conf))
        inside.submit(agent.enter, wires.name("e")).result()
        driver = inside.submit(LocalDriver).result()
        inside.submit(driver.sync, services(1), 1).result()
        yield from _compared(wires, driver, inside)


def _compared(wires, driver, inside):
    """Measured in turns, so that what else runs on the machine meets all alike."""
    ways = {"routed": SERVER, "service": VIP, "proxy": PROXY}
    one = _medians(wires, ways)
    inside.submit(driver.sync, services(MANY), 2).result()
    many = _medians(wires, {"routed": SERVER, "service": VIP})
    inside.submit(driver.sync, SeState(), 3).result()
    for number, (what, unit, least) in enumerate((("connections", "1/s", 0.7), ("throughput", "Gbit/s", 0.0))):
        value, routed, proxy = (one[way][number] for way in ("service", "routed", "proxy"))
        target = f">= {least:g} x" if least else "reported"
        yield Figure(f"{what} through a service", value, routed, unit, target, value >= least * routed, "plain routing")
        yield Figure(f"{what} through a service", value, proxy, unit, "> 1 x", value > proxy, "HAProxy, TCP mode")
        share = many["service"][number] / many["routed"][number]
        met = share >= 0.9 * value / routed
        beside = value / routed * many["routed"][number]
        name = f"{what} through one of {MANY}"
        yield Figure(name, many["service"][number], beside, unit, ">= 0.9 x", met, "one service, same routing")


def _medians(wires, ways):
    rounds = [{way: (rate(wires, ip), gigabits(wires, ip)) for way, ip in ways.items()} for _ in range(ROUNDS)]
    return {way: [statistics.median([one[way][place] for one in rounds]) for place in (0, 1)] for way in ways}


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.name}: {figure.value:.1f} {figure.unit}, {figure.floor_name} {figure.floor:.1f}, {figure.met}")

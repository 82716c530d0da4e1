"""Captures at full speed, live view on: a whole interface beside tcpdump, and translated flows seen twice.

Run by itself it prints its figures only. A lab of its own: a sender on the front network, and nobody behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure
from lab import Lab

SECONDS = 10
PACKETS_PER_SECOND = 100_000
FLOWS = 25_000
QUIET = 200
SENDER = Path(__file__).resolve().parent / "sender.py"
VIP, SERVER, NOBODY = "10.10.10.90", "10.10.40.190", "10.10.10.11"
TICKS = os.sysconf("SC_CLK_TCK")
SERVICE = f"""
configure pool bench-udp-pool
servers ip {SERVER} port 5000
save
save
configure vsvip bench-udp-vip
vip vip_id 0
ip_address {VIP}
save
save
configure virtualservice bench-udp
services port 5000
save
vsvip_ref bench-udp-vip
pool_ref bench-udp-pool
application_profile_ref System-L4-Application
network_profile_ref System-UDP-Fast-Path
save
"""
LIMITS = (
    "capture_params num_pkts 50000000 pkt_size 0 duration 5\ncapture_file_size absolute_size 4000\nsave\nsave\nsave\n"
)


def cpu(pid):
    """Seconds of a processor that a process has used, its ended children included."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, parts[11:15])) / TICKS


def pids(words):
    """The processes whose command line has all of the words."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(int(path.name))
    return found


class Captured:
    """What a capture of ours was told and cost: seen in the kernel, in the file, lost, processor seconds."""

    def __init__(self, kept, lost, agent, controller, shown):
        self.kept, self.lost, self.agent, self.controller, self.shown = kept, lost, agent, controller, shown


class Field:
    """The lab, and how packets are sent in it."""

    def __init__(self, lab):
        self.lab = lab
        self.shell = [str(lab.bin / "avish"), "--home", str(lab.home), "--min-output"]
        self.mac = self.inside("se1", "cat", "/sys/class/net/eth1/address").strip()

    def inside(self, host, *words):
        argv = ["ip", "netns", "exec", f"{self.lab.prefix}-{host}", *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def do(self, script):
        done = subprocess.run(self.shell, input=script, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"bench: {done.stderr}")

    def send(self, target, rate, flows):
        words = ("eth0", self.mac, "10.10.10.254", target, "5000", str(rate), str(SECONDS), str(flows))
        return int(self.inside("router", sys.executable, str(SENDER), *words))

    def received(self):
        return int(self.inside("se1", "cat", "/sys/class/net/eth1/statistics/rx_packets"))

    def capture(self, kind, target, rate, flows):
        """Capture what is sent, with a session that looks on; gives what came in, and Captured."""
        self.do(f"debug serviceengine se1\nflags flag debug_pcap_{kind}\n{LIMITS}")
        taps = pids(("dataplane.tap",))
        tap = next(pid for pid in taps if f"{self.lab.prefix}-se1" in namespace_of(pid))
        (controller,) = pids(("avish.server.main", "serve", str(self.lab.home)))[:1]
        with tempfile.TemporaryFile() as lines:
            looker = subprocess.Popen(
                [*self.shell, "-c", "show debug serviceengine se1 capture live"],
                stdout=lines,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(1)  # the looker is there
            before, began, began_controller = self.received(), cpu(tap), cpu(controller)
            sent = self.send(target, rate, flows)
            came = self.received() - before
            self._settled()
            agent, own = cpu(tap) - began, cpu(controller) - began_controller
            self.do(f"debug serviceengine se1\nno flags flag debug_pcap_{kind}\nsave\n")
            looker.wait(30)
            lines.seek(0)
            shown = sum(1 for _ in lines)
        job = self.jobs()[0]
        return sent, came, Captured(job["packets"], job["lost"], agent, own, shown)

    def jobs(self):
        return self.lab.client().call("GET", "/api/jobs").body["results"]

    def _settled(self):
        """Until no more come into the file than what engines tell each other."""
        last = -1_000_000
        while (now := self.jobs()[0]["packets"]) - last > QUIET:
            last = now
            time.sleep(0.5)

    def tcpdump(self, target, rate, flows):
        """The same with tcpdump: what came in, in the file, lost, processor seconds."""
        with tempfile.TemporaryDirectory() as folder:
            words = ["tcpdump", "-n", "-i", "eth1", "-Q", "in", "-B", "32768", "-w", f"{folder}/a.pcap"]
            argv = ["ip", "netns", "exec", f"{self.lab.prefix}-se1", *words]
            child = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
            child.stderr.readline()
            before = self.received()
            self.send(target, rate, flows)
            came = self.received() - before
            time.sleep(1)
            used = cpu(child.pid)
            child.terminate()
            told = child.stderr.read().split("\n")
            child.wait()
        numbers = [int(line.split()[0]) for line in told if line and line.split()[0].isdigit()]
        return came, numbers[0], numbers[2], used


def namespace_of(pid):
    """The names that the network namespace of a process goes by."""
    own = Path(f"/proc/{pid}/ns/net").stat().st_ino
    return [path.name for path in Path("/run/netns").iterdir() if path.stat().st_ino == own]


def figures(bin_dir):
    """All figures; the lab is made for them."""
    with Lab(bin_dir) as lab:
        field = Field(lab)
        field.do(SERVICE)
        field.inside(
            "se1", "ip", "neigh", "replace", SERVER, "lladdr", "02:00:00:00:00:99", "dev", "eth2", "nud", "permanent"
        )
        yield from interface(field)
        yield from translated(field)


def interface(field):
    """100,000 packets a second on an interface."""
    _, came, ours = field.capture("rx", NOBODY, PACKETS_PER_SECOND, 1)
    theirs_came, theirs_kept, theirs_lost, theirs_cpu = field.tcpdump(NOBODY, PACKETS_PER_SECOND, 1)
    missing = came - ours.kept - ours.lost
    rate = came / SECONDS
    name = f"interface capture, {rate:,.0f} packets/s for {SECONDS} s: in the file"
    target = "no loss in the file, none uncounted"
    floor = f"tcpdump: {theirs_kept:,} of {theirs_came:,} ({theirs_lost} dropped)"
    yield Figure(name, ours.kept, theirs_kept, "packets", target, ours.lost == 0 and missing <= 0, floor)
    yield Figure("  dropped by the kernel", ours.lost, theirs_lost, "packets", "0", ours.lost == 0, "tcpdump")
    name = f"  processor of its process, {ours.shown:,} lines shown meanwhile (controller {ours.controller:.1f} s)"
    yield Figure(name, ours.agent * 1000, theirs_cpu * 1000, "ms", "<= one core", ours.agent <= SECONDS, "tcpdump")


def translated(field):
    """Packets of 25,000 flows, each seen before and after."""
    for rate in (FLOWS, 2 * FLOWS, 3 * FLOWS, 4 * FLOWS):
        sent, _, ours = field.capture("nat", VIP, rate, FLOWS)
        twice = ours.kept + ours.lost >= 2 * sent
        beside = f"(controller {ours.controller:.1f} s)"
        name = f"NAT capture, {sent / SECONDS:,.0f} packets/s of {FLOWS:,} flows, seen twice {beside}"
        target = "no loss" if rate == FLOWS else "what is lost is counted"
        met = twice and (ours.lost == 0 or rate > FLOWS)
        yield Figure(name, ours.kept, 2 * sent, "packets", target, met, f"sent, twice; {ours.lost:,} lost, counted")
        yield Figure("  processor of its process", ours.agent * 1000, SECONDS * 1000, "ms", "-", True, "one core")


if __name__ == "__main__":
    from run import HEADER, row, table

    print(table([HEADER, *map(row, figures(Path(sys.executable).parent))]))

"""A client, an engine that translates, and a server; and a tap in the engine that is read by a thread."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from dataplane.capture import KernelCapture
from dataplane.model import NAT_MARK
from dataplane.taps import Blocks, CaptureSpec, Packet

CLIENT, SERVER, VIP = "10.91.1.2", "10.91.2.2", "10.91.1.100"
SERVICE, RULE = 7, NAT_MARK | 3
CLONE_NEWNET = 0x40000000
HANG = 20.0

RULES = f"""
table ip service {{
  chain dstnat {{
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr {VIP} meta l4proto {{ tcp, udp }} th dport 2121 ct mark set {SERVICE} meta mark set 1 dnat to {SERVER}:8021
  }}
  chain srcnat {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.91.2.0/24 tcp sport 2020 ct mark set {RULE} snat to {VIP}
  }}
}}
"""


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread in a network namespace; sockets made there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        yield
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        os.close(there)


def run(*command: str, text: str = "") -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, timeout=HANG).stdout


class Lab:
    """client - engine - server; the engine translates as RULES say."""

    def __init__(self) -> None:
        self.client, self.engine, self.server = (f"t{os.getpid()}x{name}" for name in ("c", "e", "s"))

    def build(self) -> None:
        for name in (self.client, self.engine, self.server):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self._wire(self.client, CLIENT, "eth1", "10.91.1.1")
        self._wire(self.server, SERVER, "eth2", "10.91.2.1")
        run("ip", "-n", self.engine, "addr", "add", f"{VIP}/32", "dev", "lo")
        with inside(self.engine):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            run("nft", "-f", "-", text=RULES)

    def _wire(self, host: str, address: str, port: str, gateway: str) -> None:
        run("ip", "-n", host, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", self.engine)
        for namespace, device, own in ((host, "eth0", address), (self.engine, port, gateway)):
            run("ip", "-n", namespace, "addr", "add", f"{own}/24", "dev", device)
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", host, "route", "add", "default", "via", gateway)

    def remove(self) -> None:
        for name in (self.client, self.engine, self.server):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def listen(self, namespace: str, port: int) -> socket.socket:
        with inside(namespace):
            listener = socket.create_server(("", port))
        listener.settimeout(HANG)
        return listener

    def connect(self, namespace: str, target: tuple[str, int], source_port: int = 0) -> socket.socket:
        with inside(namespace):
            return socket.create_connection(target, HANG, ("", source_port) if source_port else None)

    def tables(self) -> list[str]:
        with inside(self.engine):
            return run("nft", "list", "tables").splitlines()


class Reader:
    """A capture read in a thread of its own, inside the engine's namespace."""

    def __init__(self, lab: Lab, snaplen: int = 256, spec: CaptureSpec | None = None) -> None:
        self.packets: list[Packet] = []
        self.blocks: list[Blocks] = []
        self.lab = lab
        with inside(lab.engine):
            self.capture = KernelCapture(spec or CaptureSpec(("nat",), snaplen))
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with inside(self.lab.engine):
            for batch in self.capture:
                if batch is not None:
                    with self._changed:
                        self.packets += batch.packets
                        self.blocks += [batch.blocks] if batch.blocks else []
                        self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.packets) >= count, HANG), f"{len(self.packets)} of {count}"

    def close(self) -> list[Packet]:
        with inside(self.lab.engine):
            self.capture.close()
        self._thread.join(HANG)
        assert not self._thread.is_alive()
        return self.packets

"""Taps on translated flows: the log reader on its own, then real connections through a translating namespace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane import capture
from dataplane.capture import GROUP_BASE, KernelCapture, clean_stale
from dataplane.errors import RefusedError
from dataplane.model import NAT_MARK, CaptureSpec, Packet
from dataplane.netlink import messages
from dataplane.nflog import HeldPackets, LogReader, fingerprint
from dataplane.pcapng import PcapngWriter

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


def ip_packet(
    src: str, dst: str, *, sport: int, dport: int, ident: int = 1, seq: int = 0, protocol: int = 6, text: bytes = b""
) -> bytes:
    ports = struct.pack(">HH", sport, dport)
    rest = struct.pack(">IIBBHHH", seq, 0, 0x50, 2, 0, 0, 0) if protocol == 6 else struct.pack(">HH", 8 + len(text), 0)
    length = 24 + len(rest) + len(text)
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, length, ident, 0, 64, protocol, 0, socket.inet_aton(src), socket.inet_aton(dst)
    )
    return header + ports + rest + text


def record(prefix: str, data: bytes, *, sequence: int, mark: int = 0, stamp: float | None = None) -> bytes:
    parts = [(10, prefix.encode() + b"\0"), (12, struct.pack(">I", sequence)), (9, data)]
    parts += [(2, struct.pack(">I", mark))] if mark else []
    parts += [(3, struct.pack(">QQ", int(stamp), int(stamp % 1 * 1e6)))] if stamp is not None else []
    body = bytes(4) + b"".join(
        struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4) for kind, value in parts
    )
    return struct.pack("=IHHII", 16 + len(body), 4 << 8, 0, 0, 0) + body


def read(reader: LogReader, datagram: bytes, now: float) -> list[Packet]:
    return reader.packets(messages(datagram), now)


def held(src: str = CLIENT, **fields: object) -> Packet:
    defaults: dict[str, object] = {"sport": 40000, "dport": 21}
    data = ip_packet(src, VIP, **(defaults | fields))  # type: ignore[arg-type]
    return Packet(1000.0, "before", "original", 0, "eth1", len(data), data)


def test_a_first_packet_comes_out_when_its_translation_is_seen() -> None:
    reader = LogReader()
    before = ip_packet(CLIENT, VIP, sport=40000, dport=2121)
    after = ip_packet(CLIENT, SERVER, sport=40000, dport=8021)
    assert read(reader, record("before-first", before, sequence=0, stamp=1000.25), 1000.3) == []
    found = read(reader, record("after-first", after, sequence=1, mark=SERVICE), 1000.3)
    assert [(p.point, p.direction, p.mark, p.data) for p in found] == [
        ("before", "original", SERVICE, before),
        ("after", "original", SERVICE, after),
    ]
    assert [p.time for p in found] == [1000.25, 1000.25]


def test_a_packet_without_a_time_long_after_the_last_one_gets_the_time_of_its_arrival() -> None:
    reader = LogReader()
    data = ip_packet(CLIENT, VIP, sport=1, dport=2)
    read(reader, record("before-original", data, sequence=0, mark=1, stamp=1000.0), 1000.1)
    assert read(reader, record("after-reply", data, sequence=1, mark=1), 1007.5)[0].time == 1007.5


def test_many_records_in_a_datagram_and_foreign_prefixes() -> None:
    data = ip_packet(CLIENT, VIP, sport=1, dport=2)
    datagram = b"".join(record("before-reply", data, sequence=n, mark=RULE, stamp=5.0) for n in range(64))
    datagram += record("somebody else", data, sequence=64)
    found = read(LogReader(), datagram, 5.0)
    assert len(found) == 64
    assert {(p.direction, p.mark) for p in found} == {("reply", RULE)}


@pytest.mark.parametrize("cut", [1, 15, 17, 21, 30, 60])
def test_a_broken_datagram_gives_nothing_and_does_not_raise(cut: int) -> None:
    datagram = record("before-reply", ip_packet(CLIENT, VIP, sport=1, dport=2), sequence=1, mark=1, stamp=5.0)
    read(LogReader(), datagram[:cut], 5.0)


def test_gaps_in_the_sequence_are_counted_also_over_the_turn() -> None:
    reader = LogReader()
    data = ip_packet(CLIENT, VIP, sport=1, dport=2)
    for number in (0xFFFFFFFD, 0xFFFFFFFE, 3):
        read(reader, record("after-reply", data, sequence=number, mark=1), 1.0)
    assert reader.take_gap() == 4
    assert reader.take_gap() == 0


def test_of_packets_alike_the_one_with_most_unchanged_ends_is_taken() -> None:
    packets = HeldPackets()
    one, other = (held(sport=port, ident=0, protocol=17, text=b"query") for port in (40000, 40001))
    packets.add(one)
    packets.add(other)
    after = ip_packet(CLIENT, SERVER, sport=40001, dport=53, ident=0, protocol=17, text=b"query")
    seen = Packet(1000.0, "after", "original", 5, "eth2", len(after), after)
    assert packets.take(seen) is other
    assert packets.take(seen) is one
    assert packets.take(seen) is None


def test_held_packets_are_bounded_in_number_and_time() -> None:
    packets = HeldPackets()
    for ident in range(3 * HeldPackets.LIMIT):
        packets.add(held(ident=ident % 65536))
    assert len(packets) == HeldPackets.LIMIT
    for _ in range(3 * HeldPackets.PER_KEY):
        packets.add(held(ident=1))
    assert len(packets) <= HeldPackets.LIMIT
    late = held(ident=9)
    packets.add(Packet(late.time + 10, "before", "original", 0, "eth1", late.length, late.data))
    assert len(packets) == 1


@pytest.mark.parametrize("data", [b"", b"E", b"\x45" + bytes(19), bytes(9) + b"\x06"])
def test_a_fingerprint_of_anything(data: bytes) -> None:
    assert fingerprint(data) == fingerprint(data)


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


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.remove()


class Reader:
    """A capture read in a thread of its own, inside the engine's namespace."""

    def __init__(self, lab: Lab, snaplen: int = 256) -> None:
        self.packets: list[Packet] = []
        self.lab = lab
        with inside(lab.engine):
            self.capture = KernelCapture(CaptureSpec("nat", snaplen))
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with inside(self.lab.engine):
            for packet in self.capture:
                if packet is not None:
                    with self._changed:
                        self.packets.append(packet)
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


def ends(packet: Packet) -> tuple[str, int, str, int]:
    sport, dport = struct.unpack_from(">HH", packet.data, 20)
    return socket.inet_ntoa(packet.data[12:16]), sport, socket.inet_ntoa(packet.data[16:20]), dport


def tcp_flags(packet: Packet) -> int:
    return packet.data[33]


def download(lab: Lab, size: int) -> None:
    """Through the service: the client connects, the server sends ``size`` bytes."""
    with lab.listen(lab.server, 8021) as listener, lab.connect(lab.client, (VIP, 2121)) as client:
        server, _ = listener.accept()
        sender = threading.Thread(target=lambda: (server.sendall(bytes(size)), server.close()))
        sender.start()
        received = 0
        while chunk := client.recv(1 << 20):
            received += len(chunk)
        sender.join(HANG)
    assert received == size


@pytest.mark.root
def test_both_sides_of_a_service_flow_the_first_packet_included(lab: Lab) -> None:
    reader = Reader(lab)
    download(lab, 5)
    packets = reader.close()
    assert [(p.point, p.direction, p.mark, p.interface) for p in packets[:4]] == [
        ("before", "original", SERVICE, "eth1"),
        ("after", "original", SERVICE, "eth2"),
        ("before", "reply", SERVICE, "eth2"),
        ("after", "reply", SERVICE, "eth1"),
    ]
    client_port = ends(packets[0])[1]
    assert [ends(p) for p in packets[:4]] == [
        (CLIENT, client_port, VIP, 2121),
        (CLIENT, client_port, SERVER, 8021),
        (SERVER, 8021, CLIENT, client_port),
        (VIP, 2121, CLIENT, client_port),
    ]
    assert [tcp_flags(p) for p in packets[:4]] == [0x02, 0x02, 0x12, 0x12]
    assert all(abs(p.time - time.time()) < HANG for p in packets)
    assert [p.point for p in packets].count("before") == [p.point for p in packets].count("after")


@pytest.mark.root
def test_both_sides_of_a_nat_rule_flow(lab: Lab) -> None:
    reader = Reader(lab)
    with lab.listen(lab.client, 5555) as listener, lab.connect(lab.server, (CLIENT, 5555), 2020):
        _, peer = listener.accept()
    packets = reader.close()
    assert peer == (VIP, 2020)
    assert {p.mark for p in packets} == {RULE}
    assert [ends(p) for p in packets[:4]] == [
        (SERVER, 2020, CLIENT, 5555),
        (VIP, 2020, CLIENT, 5555),
        (CLIENT, 5555, VIP, 2020),
        (CLIENT, 5555, SERVER, 2020),
    ]


@pytest.mark.root
def test_what_is_only_routed_is_not_captured(lab: Lab) -> None:
    reader = Reader(lab)
    with lab.listen(lab.client, 5556) as listener, lab.connect(lab.server, (CLIENT, 5556)):
        _, peer = listener.accept()
    assert peer[0] == SERVER
    assert reader.close() == []


@pytest.mark.root
def test_udp_packets_with_equal_ids_keep_their_own_before(lab: Lab) -> None:
    reader = Reader(lab)
    with inside(lab.server):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("", 8021))
    with inside(lab.client):
        senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for sender in senders:
        sender.sendto(b"the same", (VIP, 2121))
        sender.close()
    reader.wait_for(16)
    receiver.close()
    pairs = reader.close()
    assert [p.point for p in pairs] == ["before", "after"] * 8
    assert all(ends(before)[:2] == ends(after)[:2] for before, after in zip(pairs[::2], pairs[1::2], strict=True))


@pytest.mark.root
def test_lines_come_while_the_connection_is_open(lab: Lab) -> None:
    reader = Reader(lab)
    with lab.listen(lab.server, 8021) as listener, lab.connect(lab.client, (VIP, 2121)):
        server, _ = listener.accept()
        with server:
            reader.wait_for(6)
    reader.close()


@pytest.mark.root
@pytest.mark.parametrize(("segments", "snaplen", "at_least"), [(1, 256, 8000), (64, 0, 100)])
def test_a_long_flow_is_whole(lab: Lab, tmp_path: Path, segments: int, snaplen: int, at_least: int) -> None:
    """As thousands of small packets, and as few of up to 64 kB."""
    size = 6_000_000
    run("ip", "-n", lab.server, "link", "set", "eth0", "gso_max_segs", str(segments))
    reader = Reader(lab, snaplen)
    download(lab, size)
    packets = reader.close()
    assert len(packets) >= at_least
    assert reader.capture.lost == 0
    for point in ("before", "after"):
        replies = [p for p in packets if p.point == point and p.direction == "reply"]
        assert sum(p.length - 20 - (p.data[32] >> 4) * 4 for p in replies) >= size
        assert all(len(p.data) == min(p.length, snaplen or p.length) for p in replies)
        assert (max(p.length for p in replies) > 1500) == (segments > 1)
    writer = PcapngWriter(tmp_path / "flow.pcapng")
    for p in packets:
        writer.write(interface=p.interface, time=p.time, data=p.data, length=p.length, comment=f"point={p.point}")
    writer.close()
    if shutil.which("tshark"):
        shown = run("tshark", "-r", str(tmp_path / "flow.pcapng"), "-T", "fields", "-e", "frame.comment")
        assert shown.count("point=") == len(packets)


@pytest.mark.root
def test_close_removes_the_table_and_wakes_the_reader_and_may_be_repeated(lab: Lab) -> None:
    before = lab.tables()
    reader = Reader(lab)
    assert f"table ip {reader.capture.table}" in lab.tables()
    reader.close()
    reader.close()
    assert lab.tables() == before
    unread = Reader.__new__(Reader)
    with inside(lab.engine):
        unread.capture = KernelCapture(CaptureSpec("nat"))
        unread.capture.close()
        assert [packet for packet in unread.capture if packet] == []
    assert lab.tables() == before


@pytest.mark.root
def test_close_removes_the_table_also_when_its_counters_cannot_be_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lab.tables()
    reader = Reader(lab)

    def refuse(_: str) -> str:
        raise RefusedError("no listing")

    monkeypatch.setattr(capture.nftrun, "counted_listing", refuse)
    with pytest.raises(RefusedError, match="no listing"):
        reader.close()
    assert lab.tables() == before
    assert reader.close() == []


@pytest.mark.root
def test_two_captures_at_once_see_the_same(lab: Lab) -> None:
    one, other = Reader(lab), Reader(lab)
    assert one.capture.table != other.capture.table
    download(lab, 5)
    assert [p.data for p in one.close()] == [p.data for p in other.close()]


@pytest.mark.root
def test_tables_of_the_dead_go_those_of_the_living_stay(lab: Lab) -> None:
    before = lab.tables()
    reader = Reader(lab)
    with inside(lab.engine):
        run("nft", "-f", "-", text=capture.ruleset("avish_cap_900", GROUP_BASE + 900))
        assert clean_stale() == ["avish_cap_900"]
        assert clean_stale() == []
    assert f"table ip {reader.capture.table}" in lab.tables()
    reader.close()
    assert lab.tables() == before


@pytest.mark.root
def test_packets_lost_in_the_kernel_are_counted_each(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Reader(lab)  # has the ordinary buffer and loses nothing, so it knows how many there were
    monkeypatch.setattr(capture, "RECEIVE_BUFFER", 100_000)
    with inside(lab.engine):
        tap = KernelCapture(CaptureSpec("nat", 1500))
        download(lab, 20_000_000)
        packets = iter(tap)
        got = [next(packets)]
        tap.close()
        got += [packet for packet in packets if packet is not None]
        sent = len(other.close())
    assert tap.lost > 0
    assert other.capture.lost == 0
    assert len(got) + tap.lost == sent

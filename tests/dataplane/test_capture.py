"""Taps on translated flows: the log reader on its own, then real connections through a translating namespace."""

from __future__ import annotations

import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tap_lab import CLIENT, HANG, RULE, SERVER, SERVICE, VIP, Lab, Reader, inside, run

from dataplane import capture
from dataplane.caprules import ruleset
from dataplane.capture import GROUP_BASE, KernelCapture, clean_stale
from dataplane.errors import RefusedError
from dataplane.nflog import HeldPackets, LogReader, fingerprint
from dataplane.pcapng import Entry, PcapngEncoder
from dataplane.taps import CaptureSpec, Packet, Port


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
    return reader.packets(datagram, round(now * 1e9))


def held(src: str = CLIENT, **fields: object) -> Packet:
    defaults: dict[str, object] = {"sport": 40000, "dport": 21}
    data = ip_packet(src, VIP, **(defaults | fields))  # type: ignore[arg-type]
    return Packet(1000 * 10**9, "before", "original", 0, "eth1", len(data), data)


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
    assert read(reader, record("after-reply", data, sequence=1, mark=1), 1007.5)[-1].time == 1007.5


def test_what_the_engine_sends_first_has_the_time_of_the_answer() -> None:
    reader = LogReader()
    data = ip_packet(CLIENT, VIP, sport=1, dport=2)
    read(reader, record("received-probe", data, sequence=0, stamp=1000.0), 1000.5)
    records = [
        record("sent-probe", data, sequence=1),
        record("received-probe", data, sequence=2, stamp=1000.7),
        record("sent-probe", data, sequence=3),
    ]
    assert [p.time for p in read(reader, b"".join(records), 1000.8)] == [1000.7] * 3
    assert [p.time for p in read(reader, record("sent-probe", data, sequence=4), 1000.9)] == [1000.9]


def test_many_records_in_a_datagram_and_foreign_prefixes() -> None:
    data = ip_packet(CLIENT, VIP, sport=1, dport=2)
    datagram = b"".join(record("after-reply", data, sequence=n, mark=RULE, stamp=5.0) for n in range(64))
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
    seen = Packet(1000 * 10**9, "after", "original", 5, "eth2", len(after), after)
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
    packets.add(Packet(late.ns + 10**10, "before", "original", 0, "eth1", late.length, late.data))
    assert len(packets) == 1


@pytest.mark.parametrize("data", [b"", b"E", b"\x45" + bytes(19), bytes(9) + b"\x06"])
def test_a_fingerprint_of_anything(data: bytes) -> None:
    assert fingerprint(data) == fingerprint(data)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.remove()


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
    encoder = PcapngEncoder()
    entries = [Entry(Port(p.interface, p.link), "", p.ns, p.data, p.length, f"point={p.point}") for p in packets]
    (tmp_path / "flow.pcapng").write_bytes(encoder.header() + encoder.packets(entries))
    if shutil.which("tshark"):
        shown = run("tshark", "-r", str(tmp_path / "flow.pcapng"), "-T", "fields", "-e", "frame.comment")
        assert shown.count("point=") == len(packets)


@pytest.mark.root
def test_close_removes_the_table_and_wakes_the_reader_and_may_be_repeated(lab: Lab) -> None:
    before = lab.tables()
    reader = Reader(lab)
    assert f"table inet {reader.capture.table}" in lab.tables()
    reader.close()
    reader.close()
    assert lab.tables() == before
    unread = Reader.__new__(Reader)
    with inside(lab.engine):
        unread.capture = KernelCapture(CaptureSpec(("nat",)))
        unread.capture.close()
        assert [batch for batch in unread.capture if batch] == []
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
        run("nft", "-f", "-", text=ruleset(CaptureSpec(("nat",)), "avish_cap_900", GROUP_BASE + 900))
        assert clean_stale() == ["avish_cap_900"]
        assert clean_stale() == []
    assert f"table inet {reader.capture.table}" in lab.tables()
    reader.close()
    assert lab.tables() == before


@pytest.mark.root
def test_packets_lost_in_the_kernel_are_counted_each(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Reader(lab)  # has the ordinary buffer and loses nothing, so it knows how many there were
    monkeypatch.setattr(capture, "RECEIVE_BUFFER", 100_000)
    with inside(lab.engine):
        tap = KernelCapture(CaptureSpec(("nat",), 1500))
        download(lab, 20_000_000)
        batches = iter(tap)
        got = list(next(batches).packets)
        tap.close()
        got += [packet for batch in batches if batch is not None for packet in batch.packets]
        sent = len(other.close())
    assert tap.lost > 0
    assert other.capture.lost == 0
    assert len(got) + tap.lost == sent


@pytest.mark.root
@pytest.mark.parametrize("words", ["delete table inet {}", "flush table inet {}"])
def test_a_tap_whose_rules_others_remove_says_so(lab: Lab, words: str) -> None:
    with inside(lab.engine):
        tap = KernelCapture(CaptureSpec(("nat",)))
        try:
            run("nft", "add", "table", "inet", "others")
            batches = iter(tap)
            assert next(batches) is None
            run("nft", *words.format(tap.table).split())
            with pytest.raises(RefusedError, match=f"table inet {tap.table}.* removed or changed by others"):
                list(batches)
            assert f"table inet {tap.table}" not in lab.tables()
        finally:
            run("nft", "delete", "table", "inet", "others")
            tap.close()

"""What the kinds of a tap see, on real packets; and what its filters let through."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from tap_lab import CLIENT, RULE, SERVER, SERVICE, VIP, Lab, Reader, inside, run

from dataplane import bpf
from dataplane.caprules import ruleset
from dataplane.errors import RefusedError
from dataplane.model import AddressMatch
from dataplane.pcapng import PcapngEncoder, each_packet
from dataplane.taps import KINDS, CaptureSpec, FlagMatch, Packet, PacketMatch, PortRange, ends

FORWARD = "table ip avish {\n chain forward {\n type filter hook forward priority 0; policy drop;\n ct mark != 0 accept\n }\n}"
SCAPY = "from scapy.all import IP, TCP, Ether, sendp; import sys; sendp(eval(sys.argv[1]), iface='eth0', verbose=0)"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def exchange(lab: Lab, text: bytes = b"hello") -> None:
    with lab.listen(lab.server, 8021) as listener, lab.connect(lab.client, (VIP, 2121)) as client:
        server, _ = listener.accept()
        server.sendall(text)
        server.close()
        assert client.recv(100) == text


def tap(lab: Lab, *kinds: str, **fields: object) -> Reader:
    return Reader(lab, spec=CaptureSpec(kinds, **fields))  # type: ignore[arg-type]


def text_of(end: bytes) -> str:
    half = (len(end) - 4) // 2
    source, destination = ip_address(end[:half]), ip_address(end[half : 2 * half])
    sport, dport = (int.from_bytes(end[at : at + 2], "big") for at in (2 * half, 2 * half + 2))
    return f"{source}:{sport} > {destination}:{dport}"


@pytest.mark.root
def test_each_packet_of_a_service_knows_its_other_side(lab: Lab) -> None:
    reader = tap(lab, "service", services=(SERVICE,))
    exchange(lab)
    packets = reader.close()
    port = int.from_bytes(packets[0].data[20:22], "big")
    sides = {
        ("before", "original"): (f"{CLIENT}:{port} > {VIP}:2121", f"{CLIENT}:{port} > {SERVER}:8021"),
        ("before", "reply"): (f"{SERVER}:8021 > {CLIENT}:{port}", f"{VIP}:2121 > {CLIENT}:{port}"),
    }
    sides |= {("after", way): pair[::-1] for (_, way), pair in sides.items()}
    assert len(packets) >= 12
    for packet in packets:
        assert (text_of(ends(packet.data)), text_of(packet.other)) == sides[packet.point, packet.direction]


@pytest.mark.root
def test_of_another_service_and_of_another_client_nothing_is_seen(lab: Lab) -> None:
    readers = [
        tap(lab, "service", services=(SERVICE + 1,)),
        tap(lab, "service", services=(SERVICE,), clients=AddressMatch(("10.91.1.3", "10.92.0.0/16"))),
        tap(lab, "service", services=(SERVICE,), clients=AddressMatch((CLIENT,), negate=True)),
    ]
    chosen = tap(lab, "service", services=(SERVICE,), clients=AddressMatch(("10.91.1.1-10.91.1.9",)))
    exchange(lab)
    assert [reader.close() for reader in readers] == [[], [], []]
    packets = chosen.close()
    assert {packet.point for packet in packets} == {"before", "after"}  # both legs of the transaction


@pytest.mark.root
@pytest.mark.parametrize("clients", [None, AddressMatch((CLIENT,))])
def test_what_servers_open_for_data_belongs_to_the_service(lab: Lab, clients: AddressMatch | None) -> None:
    spec = {"services": (SERVICE,), "servers": (SERVER,), "data_ports": (2020,), "clients": clients}
    reader = tap(lab, "service", **spec)
    exchange(lab)
    with lab.listen(lab.client, 5555) as listener, lab.connect(lab.server, (CLIENT, 5555), 2020):
        listener.accept()[0].close()
    packets = reader.close()
    data = [packet for packet in packets if packet.mark == RULE]
    assert len(packets) > len(data) > 5
    assert [(p.point, p.direction) for p in data[:4]] == [
        ("before", "original"),
        ("after", "original"),
        ("before", "reply"),
        ("after", "reply"),
    ]
    assert len({(p.data, p.point) for p in packets}) == len(packets)


@pytest.mark.root
@pytest.mark.parametrize("clients", [None, AddressMatch((CLIENT,))])
def test_data_connections_that_no_rule_translates_belong_to_the_service_too(
    lab: Lab, clients: AddressMatch | None
) -> None:
    reader = tap(lab, "service", services=(SERVICE,), servers=(SERVER,), data_ports=(2021,), clients=clients)
    with lab.listen(lab.client, 40000) as listener, inside(lab.server), socket.socket() as data:
        data.bind((SERVER, 2021))
        data.connect((CLIENT, 40000))
        listener.accept()[0].close()
    packets = reader.close()
    assert [(p.point, p.direction, p.mark) for p in packets[:2]] == [
        ("before", "original", 0),
        ("after", "original", 0),
    ]
    assert {text_of(ends(p.data)) for p in packets[:2]} == {f"{SERVER}:2021 > {CLIENT}:40000"}
    assert len({(p.data, p.point) for p in packets}) == len(packets)


@pytest.mark.root
def test_a_whole_interface_in_both_directions_with_its_names(lab: Lab) -> None:
    reader = tap(lab, "rx", "tx", snaplen=0)
    exchange(lab)
    reader.close()
    blocks = [block for block in reader.blocks if block.count]
    names = {port.name for block in blocks for port in block.ports}
    assert names == {"eth1", "eth2"}
    found = [one for block in blocks for one in each_packet(block.data)]
    assert sum(block.count for block in blocks) == len(found) >= 12
    assert sorted(one.ns for one in found) == [one.ns for one in found]
    assert reader.capture.lost == 0


@pytest.mark.root
@pytest.mark.parametrize(("kind", "first"), [("rx", CLIENT), ("tx", VIP)])
def test_one_direction_of_one_interface(lab: Lab, kind: str, first: str) -> None:
    reader = tap(lab, kind, interface="eth1", matches=(PacketMatch(tcp=True),))
    exchange(lab)
    reader.close()
    sources = {socket.inet_ntoa(one.data[26:30]) for block in reader.blocks for one in each_packet(block.data)}
    assert sources == {first}


@pytest.mark.root
def test_an_interface_that_is_not_there_is_refused_with_those_that_are(lab: Lab) -> None:
    with pytest.raises(RefusedError, match="there is no interface eth9; there are: eth1, eth2"):
        tap(lab, "rx", interface="eth9")


FILTERS = [
    (PacketMatch(flags=(FlagMatch(2),)), lambda p: p.data[33] & 2),
    (PacketMatch(flags=(FlagMatch(18, every=True),)), lambda p: p.data[33] & 18 == 18),
    (PacketMatch(flags=(FlagMatch(2, negate=True),)), lambda p: not p.data[33] & 2),
    (PacketMatch(hosts=(AddressMatch((SERVER,)),)), lambda p: SERVER in text_of(ends(p.data))),
    (
        PacketMatch(hosts=(AddressMatch((SERVER, "fd00::1"), negate=True),)),
        lambda p: SERVER not in text_of(ends(p.data)),
    ),
    (PacketMatch(source_ports=(PortRange(8000, 8999),), tcp=True), lambda p: p.data[20:22] == b"\x1f\x55"),
    (PacketMatch(destination_ports=(PortRange(2121, 2121, negate=True),)), lambda p: p.data[22:24] != b"\x08\x49"),
]


@pytest.mark.root
@pytest.mark.parametrize(("match", "wanted"), FILTERS)
def test_a_filter_means_the_same_in_rules_and_on_interfaces(lab: Lab, match: PacketMatch, wanted: object) -> None:
    every = tap(lab, "nat")
    ruled, ring = tap(lab, "nat", matches=(match,)), tap(lab, "rx", "tx", matches=(match,))
    exchange(lab)
    packets, some = every.close(), ruled.close()
    ring.close()
    assert sorted(p.data for p in some) == sorted(p.data for p in packets if wanted(p))  # type: ignore[operator]
    assert some
    frames = [one.data for block in ring.blocks for one in each_packet(block.data) if one.data[12:14] == b"\x08\x00"]
    assert frames
    assert all(wanted(Packet(0, "before", "original", 0, "", 0, frame[14:])) for frame in frames)  # type: ignore[operator]


@pytest.mark.root
def test_two_filters_take_what_either_takes_and_no_packet_twice(lab: Lab) -> None:
    either = (PacketMatch(flags=(FlagMatch(2),)), PacketMatch(hosts=(AddressMatch((VIP,)),)))
    reader = tap(lab, "nat", matches=either)
    exchange(lab)
    packets = reader.close()
    assert packets
    assert len({(p.data, p.point) for p in packets}) == len(packets)
    assert all(p.data[33] & 2 or VIP in text_of(ends(p.data)) for p in packets)


@pytest.mark.root
def test_what_is_merely_routed(lab: Lab) -> None:
    reader = tap(lab, "routing")
    exchange(lab)
    with lab.listen(lab.client, 5556) as listener, lab.connect(lab.server, (CLIENT, 5556)):
        listener.accept()[0].close()
    packets = reader.close()
    assert {text_of(ends(p.data)).split(":")[0] for p in packets} == {CLIENT, SERVER}
    assert {p.point for p in packets} == {"forward"}


@pytest.mark.root
def test_drops_are_told_with_their_reason(lab: Lab) -> None:
    with inside(lab.engine):
        run("nft", "-f", "-", text=FORWARD)
    reader = tap(lab, "drop")
    try:
        with inside(lab.server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"to the client", (CLIENT, 777))
        with inside(lab.server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"to nowhere", ("203.0.113.7", 778))
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            sender.sendto(b"too far", (CLIENT, 779))
        exchange(lab)
        reader.wait_for(3)
    finally:
        packets = reader.close()
        with inside(lab.engine):
            run("nft", "delete", "table", "ip", "avish")
    reasons = {int.from_bytes(p.data[22:24], "big"): p.reason for p in packets}
    assert reasons == {
        777: "no virtual service took it, and routing is off",
        778: "no route to the destination",
        779: "time to live is over",
    }
    assert {p.point for p in packets} == {"drop"}


@pytest.mark.root
def test_attacks_are_told_with_their_reason(lab: Lab) -> None:
    reader = tap(lab, "dos")
    mac = run("ip", "-n", lab.engine, "-br", "link", "show", "dev", "eth1").split()[2]
    layers = ", ".join(
        f"Ether(dst='{mac}')/IP(src='{CLIENT}', dst='{VIP}')/TCP(flags='{flags}')" for flags in ("", "FPU", "SF")
    )
    import sys

    subprocess.run(
        ["ip", "netns", "exec", lab.client, sys.executable, "-c", SCAPY, f"[{layers}]"], check=True, capture_output=True
    )
    exchange(lab)
    reader.wait_for(3)
    assert [p.reason for p in reader.close()] == [
        "TCP packet without a flag",
        "TCP packet with FIN, PSH and URG (christmas tree)",
        "TCP packet with SYN and FIN",
    ]


@pytest.mark.root
def test_the_engines_own_probes_and_nothing_that_is_forwarded(lab: Lab) -> None:
    reader = tap(lab, "probe", servers=(SERVER,))
    exchange(lab)
    with lab.listen(lab.server, 8099) as listener, lab.connect(lab.engine, (SERVER, 8099)):
        listener.accept()[0].close()
    packets = reader.close()
    assert [p.point for p in packets[:2]] == ["sent", "received"]
    assert {p.interface for p in packets} == {"eth2"}
    assert all(b"\x1f\xa3" in p.data[20:24] for p in packets)


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [KINDS])
def test_rules_of_every_kind_with_filters_load(kinds: tuple[str, ...]) -> None:
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    hosts = AddressMatch(("10.0.0.1", "10.0.0.0/30", "10.0.0.4-10.0.0.9", "fd00::/64"))
    spec = CaptureSpec(
        kinds,  # type: ignore[arg-type]
        services=(1, 2),
        clients=hosts,
        servers=("10.0.0.1", "fd00::2"),
        data_ports=(20,),
        matches=(
            *(match for match, _ in FILTERS),
            PacketMatch(hosts=(hosts, AddressMatch((), negate=True)), ipv4=True),
        ),
    )
    done = subprocess.run(
        ["unshare", "-n", "nft", "-f", "-"],
        input=ruleset(spec, "avish_cap_1", 20001),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_an_expression_that_makes_no_sense_is_refused_with_what_tcpdump_says() -> None:
    with pytest.raises(RefusedError, match="cannot be compiled"):
        bpf.program("host nowhere.invalid.", 0, directions=(), loopback=1)


def test_blocks_get_the_numbers_of_their_file() -> None:
    from dataplane.taps import Blocks, Port

    encoder = PcapngEncoder()
    encoder.header()
    own = PcapngEncoder()
    from dataplane.pcapng import Entry

    data = own.packets([Entry(Port("eth2", 1), "", 5, b"x" * 20, 20)])
    packet = data[-(32 + 20 + 12) :]
    encoder.packets([Entry(Port("eth1", 101), "", 4, b"y" * 20, 20)])
    made = encoder.blocks(Blocks(packet, 1, (Port("eth2", 1),)), "", "")
    assert [one.number for one in each_packet(made)] == [1]

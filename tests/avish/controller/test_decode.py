"""What a person sees of a packet."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether

from avish.controller.decode import Names, Sighting, comment, flow_of, side_of
from dataplane.model import NAT_MARK
from dataplane.taps import LINK_ETHERNET, Packet, ends


def packet(data: bytes, *, mark: int = NAT_MARK | 1, point: str = "before", direction: str = "original") -> Packet:
    return Packet(1700000000_123456000, point, direction, mark, "eth2", len(data), data)  # type: ignore[arg-type]


def sighting(data: bytes, rule: str = "ftp-nat/1 active-ftp-data", virtualservice: str = "ftp-vs") -> Sighting:
    return Sighting("se1", packet(data), Names(rule, virtualservice, "ftp-pool", "10.10.40.101:21"))


def columns(data: bytes) -> str:
    """The line from the protocol on."""
    return " ".join(str(sighting(data).event["line"]).split()[7:])


SYN = bytes(IP(src="10.10.40.101", dst="10.10.20.100") / TCP(sport=20, dport=40123, flags="S"))


@pytest.mark.parametrize(
    ("mark", "point", "direction", "side"),
    [
        (NAT_MARK | 1, "before", "original", "internal"),
        (NAT_MARK | 1, "after", "original", "external"),
        (NAT_MARK | 1, "before", "reply", "external"),
        (NAT_MARK | 1, "after", "reply", "internal"),
        (7, "before", "original", "external"),
        (7, "after", "original", "internal"),
        (7, "before", "reply", "internal"),
        (7, "after", "reply", "external"),
    ],
)
def test_the_side(mark: int, point: str, direction: str, side: str) -> None:
    assert side_of(packet(b"", mark=mark, point=point, direction=direction)) == side


def test_a_line_and_its_parts() -> None:
    event = sighting(SYN).event
    assert event["line"].split()[1:] == [
        *[
            "se1",
            "internal",
            "before",
            "ftp-nat/1",
            "ftp-vs",
            "10.10.40.101:21",
            "TCP",
            "10.10.40.101:20",
            ">",
            "10.10.20.100:40123",
            "[S]",
            "len",
            "40",
        ]
    ]
    assert event["line"][8:15] == ".123456"
    assert {key: value for key, value in event.items() if key != "line"} == {
        "event": "packet",
        "time": 1700000000.123456,
        "engine": "se1",
        "interface": "eth2",
        "side": "internal",
        "point": "before",
        "rule": "ftp-nat/1 active-ftp-data",
        "virtualservice": "ftp-vs",
        "pool": "ftp-pool",
        "server": "10.10.40.101:21",
        "other": "",
        "reason": "",
        "flow": flow_of(packet(SYN)),
        "protocol": "TCP",
        "src": "10.10.40.101",
        "sport": 20,
        "dst": "10.10.20.100",
        "dport": 40123,
        "flags": "S",
        "length": 40,
        "info": "",
    }


def test_the_columns_stay_in_place() -> None:
    lines = [sighting(bytes(IP() / TCP(sport=port))).event["line"] for port in (1, 65535)]
    assert {line.index(" > ") for line in lines} == {lines[0].index(" > ")}
    assert {line.index("[") for line in lines} == {lines[0].index("[")}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (bytes(IP(src="1.1.1.1", dst="2.2.2.2") / UDP(sport=5, dport=53)), "UDP 1.1.1.1:5 > 2.2.2.2:53 [] len 28"),
        (bytes(IP(src="1.1.1.1", dst="2.2.2.2") / ICMP()), "ICMP 1.1.1.1 > 2.2.2.2 [echo-request] len 28"),
        (
            bytes(IP(src="1.1.1.1", dst="2.2.2.2") / ICMP(type=3) / IP() / UDP()),
            "ICMP 1.1.1.1 > 2.2.2.2 [dest-unreach] len 56",
        ),
        (
            bytes(IP(src="1.1.1.1", dst="2.2.2.2") / ICMP(type=11) / IP() / TCP()),
            "ICMP 1.1.1.1 > 2.2.2.2 [time-exceeded] len 68",
        ),
        (
            bytes(IP(src="1.1.1.1", dst="2.2.2.2", frag=185, proto=17) / b"rest"),
            "UDP 1.1.1.1 > 2.2.2.2 [fragment at 1480] len 24",
        ),
        (bytes(IP(src="1.1.1.1", dst="2.2.2.2", proto=253) / b"x"), "253 1.1.1.1 > 2.2.2.2 [] len 21"),
    ],
)
def test_other_protocols(data: bytes, line: str) -> None:
    assert columns(data) == line


@pytest.mark.parametrize("data", [b"", b"\x45", bytes(40), b"\x60" + bytes(30)])
def test_what_is_no_packet_is_said_to_be_none(data: bytes) -> None:
    assert "[not decodable]" in sighting(data).event["line"]


@pytest.mark.parametrize("length", range(20, 40))
def test_a_packet_cut_short_still_gives_a_line(length: int) -> None:
    assert "10.10.40.101" in sighting(SYN[:length]).event["line"]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"PORT 10,10,20,100,156,187\r\n", r'"PORT 10,10,20,100,156,187" = 10.10.20.100:40123'),
        (b'say "hi" \\ now\x1b[2J', r'"say \"hi\" \\ now\x1b[2J"'),
        (b"a" * 65, '"' + "a" * 64 + '"...'),
        (bytes(range(256)), ""),
    ],
)
def test_text_is_shown_escaped_and_anything_else_is_not(payload: bytes, shown: str) -> None:
    line = columns(bytes(IP() / TCP(flags="PA") / payload))
    assert line.partition(f"len {40 + len(payload)}")[2].strip() == shown
    assert line.isprintable()


def test_names_with_blanks_control_characters_or_none_at_all() -> None:
    line = sighting(SYN, rule="my policy/12 a name/3 b", virtualservice="").event["line"]
    assert ' "my policy/12 a name/3" -' in line
    assert sighting(SYN, rule="odd", virtualservice="\x1b[2J").event["line"].isprintable()


def test_the_comment() -> None:
    seen = packet(SYN)._replace(other=ends(SYN))
    assert comment(seen, Names("ftp-nat/1 data", "ftp-vs", "ftp-pool", "10.10.40.101:21")) == (
        'side=internal point=before rule="ftp-nat/1 data" virtualservice="ftp-vs" pool="ftp-pool"'
        ' server="10.10.40.101:21" other="10.10.40.101:20 > 10.10.20.100:40123"'
    )
    assert comment(packet(SYN), Names()) == "side=internal point=before"
    dropped = packet(SYN, point="drop")._replace(reason="no route")
    assert comment(dropped, Names()) == 'point=drop reason="no route"'


def test_decoding_happens_once() -> None:
    seen = sighting(SYN)
    assert seen.event is seen.event


def test_scapy_is_loaded_only_when_a_packet_is_looked_at() -> None:
    code = "import sys, avish.controller.captures; sys.exit('scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "announced"),
    [
        (b"PORT 10,10,20,100,156,187\r\n", "10.10.20.100:40123"),
        (b"EPRT |1|10.10.20.100|40123|\r\n", "10.10.20.100:40123"),
        (b"EPRT |2|fd00::1|1025|\r\n", "fd00::1:1025"),
        (b"227 Entering Passive Mode (10,10,40,101,4,1).\r\n", "10.10.40.101:1025"),
        (b"229 Entering Extended Passive Mode (|||1025|)\r\n", "port 1025"),
        (b"PORT 10,10,20,300,156,187\r\n", ""),
        (b"227 no address here\r\n", ""),
    ],
)
def test_the_address_that_ftp_announces(text: bytes, announced: str) -> None:
    line = columns(bytes(IP() / TCP(flags="PA") / text))
    assert line.endswith(f" = {announced}") if announced else " = " not in line


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        (
            ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.2"),
            "ARP 10.0.0.1 > 10.0.0.2 [1] len 42 who has 10.0.0.2, tell 10.0.0.1",
        ),
        (
            ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.1", hwsrc="02:00:00:00:00:01"),
            "ARP 10.0.0.1 > 10.0.0.1 [1] len 42 10.0.0.1 is at 02:00:00:00:00:01 (gratuitous)",
        ),
        (
            IP(src="10.0.0.1", dst="224.0.0.18", proto=112) / bytes([0x31, 51, 100, 1, 0, 100, 0, 0, 10, 0, 0, 50]),
            "VRRP 10.0.0.1 > 224.0.0.18 [v3] len 46 advertisement of router 51, priority 100, 1 addresses: 10.0.0.50",
        ),
        (IPv6(src="fd00::1", dst="fd00::2") / TCP(sport=5, dport=80), "TCP [fd00::1]:5 > [fd00::2]:80 [S] len 74"),
        (IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(), "ICMP6 fd00::1 > fd00::2 [echo request] len 62"),
    ],
)
def test_frames_of_interfaces(layer: Packet, line: str) -> None:
    data = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / layer)
    seen = Packet(1, "received", "original", 0, "eth1", len(data), data, link=LINK_ETHERNET)
    shown = Sighting("se1", seen, Names()).event["line"]
    assert " ".join(str(shown).split()[7:]).replace('"', "") == line


def test_all_packets_of_a_flow_have_its_number() -> None:
    before, after = (
        bytes(IP(src="1.1.1.1", dst=ip) / TCP(sport=5, dport=port)) for ip, port in (("2.2.2.2", 80), ("3.3.3.3", 8080))
    )
    back, forth = (
        bytes(IP(src=ip, dst="1.1.1.1") / TCP(sport=port, dport=5)) for ip, port in (("3.3.3.3", 8080), ("2.2.2.2", 80))
    )
    pairs = [(before, after), (after, before), (back, forth), (forth, back)]
    assert len({flow_of(packet(own)._replace(other=ends(other))) for own, other in pairs}) == 1
    assert flow_of(packet(SYN)) != flow_of(packet(before))


HEADERS = st.sampled_from(
    [SYN, bytes(IP(proto=112)), bytes(IPv6()), bytes(Ether() / ARP()), bytes(Ether() / IP() / ICMP()), b""]
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    head=HEADERS,
    places=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=12),
    tail=st.binary(max_size=120),
    cut=st.integers(0, 200),
    link=st.sampled_from([1, 101]),
    point=st.sampled_from(["before", "after", "forward", "drop", "sent", "received"]),
    other=st.sampled_from([b"", ends(SYN), b"x"]),
)
def test_whatever_comes_gives_one_printable_line(
    head: bytes, places: list[tuple[int, int]], tail: bytes, cut: int, link: int, point: str, other: bytes
) -> None:
    data = bytearray(head + tail)
    for place, value in places:
        if place < len(data):
            data[place] = value
    kept = bytes(data[:cut])
    seen = Packet(1, point, "original", 7, "eth1", len(data), kept, other, "", link)  # type: ignore[arg-type]
    event = Sighting("se1", seen, Names()).event
    assert event["line"].isprintable()
    assert comment(seen, Names())
    assert isinstance(event["flow"], int)
    assert side_of(seen)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_payload_is_shown_without_a_control_character(payload: bytes) -> None:
    assert sighting(bytes(IP() / TCP(flags="PA")) + payload).event["line"].isprintable()

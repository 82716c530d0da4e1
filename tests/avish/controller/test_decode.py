"""What a person sees of a packet."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from avish.controller.decode import Sighting, comment, side_of
from dataplane.model import NAT_MARK, Packet


def packet(data: bytes, *, mark: int = NAT_MARK | 1, point: str = "before", direction: str = "original") -> Packet:
    return Packet(1700000000.123456, point, direction, mark, "eth2", len(data), data)  # type: ignore[arg-type]


def sighting(data: bytes, rule: str = "ftp-nat/1 active-ftp-data", virtualservice: str = "ftp-vs") -> Sighting:
    return Sighting("se1", packet(data), rule, virtualservice)


def columns(data: bytes) -> str:
    """The line from the protocol on."""
    return " ".join(str(sighting(data).event["line"]).split()[6:])


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
        "side": "internal",
        "point": "before",
        "rule": "ftp-nat/1 active-ftp-data",
        "virtualservice": "ftp-vs",
        "protocol": "TCP",
        "src": "10.10.40.101",
        "sport": 20,
        "dst": "10.10.20.100",
        "dport": 40123,
        "flags": "S",
        "length": 40,
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


@pytest.mark.parametrize("data", [b"", b"\x45", bytes(40), b"\x60" + bytes(39)])
def test_what_is_no_ipv4_packet_is_said_to_be_none(data: bytes) -> None:
    assert "[not decodable]" in sighting(data).event["line"]


@pytest.mark.parametrize("length", range(20, 40))
def test_a_packet_cut_short_still_gives_a_line(length: int) -> None:
    assert "10.10.40.101" in sighting(SYN[:length]).event["line"]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"PORT 10,10,20,100,156,187\r\n", r'"PORT 10,10,20,100,156,187\r\n"'),
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
    assert comment(packet(SYN), "ftp-nat/1 data", "ftp-vs") == (
        'side=internal point=before rule="ftp-nat/1 data" virtualservice="ftp-vs"'
    )
    assert comment(packet(SYN), "", "") == "side=internal point=before"


def test_decoding_happens_once() -> None:
    seen = sighting(SYN)
    assert seen.event is seen.event


def test_scapy_is_loaded_only_when_a_packet_is_looked_at() -> None:
    code = "import sys, avish.controller.captures; sys.exit('scapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

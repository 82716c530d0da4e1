from __future__ import annotations

import socket
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.ftpwatch import Book, ports_of
from dataplane.model import Ftp, Listener, Service

CLIENT, SERVER = "10.0.0.9", "10.1.0.1"


def packet(payload, *, command=True, flags=0x18, ports=(40000, 21)):
    src, dst = (CLIENT, SERVER) if command else (SERVER, CLIENT)
    sport, dport = ports if command else ports[::-1]
    tcp = struct.pack("!HHIIBBHHH", sport, dport, 0, 0, 5 << 4, flags, 0, 0, 0)
    length = 20 + len(tcp) + len(payload)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 6, 0, socket.inet_aton(src), socket.inet_aton(dst))
    return header + tcp + payload


@pytest.fixture
def book():
    return Book()


def test_an_active_transfer_is_noted_with_its_command_and_replies(book):
    book.packet(packet(b"USER joe\r\n"), True, 1.0)
    book.packet(packet(b"PORT 10,0,0,9,4,1\r\n"), True, 2.0)
    book.packet(packet(b"RETR data.bin\r\n"), True, 3.0)
    book.packet(packet(b"150 here it comes\r\n", command=False), False, 3.1)
    book.packet(packet(b"", flags=0x11), True, 4.0)
    (session,) = book.rows()
    assert (session["client"], session["client_port"], session["server"], session["user"], session["closed"]) == (
        CLIENT, 40000, SERVER, "joe", True,
    )  # fmt: skip
    (transfer,) = session["transfers"]
    assert (transfer["mode"], transfer["ip"], transfer["port"]) == ("active", CLIENT, 1025)
    assert (transfer["command"], transfer["replies"]) == ("RETR data.bin", ["150 here it comes"])


@pytest.mark.parametrize(
    ("payload", "command", "expected"),
    [
        (b"227 Entering Passive Mode (10,1,0,1,39,16).\r\n", False, ("passive", SERVER, 10000)),
        (b"229 Entering Extended Passive Mode (|||5282|)\r\n", False, ("passive", SERVER, 5282)),
        (b"EPRT |1|10.0.0.9|6446|\r\n", True, ("active", CLIENT, 6446)),
        (b"EPRT |2|fd00::9|6446|\r\n", True, ("active", "fd00::9", 6446)),
    ],
)
def test_announcements(book, payload, command, expected):
    book.packet(packet(payload, command=command), command, 1.0)
    (transfer,) = book.rows()[0]["transfers"]
    assert (transfer["mode"], transfer["ip"], transfer["port"]) == expected


@pytest.mark.parametrize(
    "payload",
    [
        b"PORT 1,2,3\r\n",
        b"PORT 999,0,0,9,4,1\r\n",
        b"EPRT |1|x|y|\r\n",
        b"EPRT\r\n",
        b"\xff\xfe\r\n",
        b"227 nothing\r\n",
        b"\x1b[2J\r\n",
    ],
)
def test_what_announces_nothing_is_passed_over(book, payload):
    for command in (True, False):
        book.packet(packet(payload, command=command), command, 1.0)
    assert book.rows()[0]["transfers"] == []


@pytest.mark.parametrize("cut", range(0, 44, 3))
def test_cut_packets_do_no_harm(book, cut):
    book.packet(packet(b"PORT 10,0,0,9,4,1\r\n")[:cut], True, 1.0)
    assert all(session["client"] == CLIENT for session in book.rows())


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_end_the_reading(data, command):
    book = Book()
    book.packet(data, command, 1.0)
    book.packet(packet(data, command=command), command, 1.0)
    assert len(book.rows()) >= 1


def test_escape_codes_are_not_kept(book):
    book.packet(packet(b"USER \x1b[31mred\r\n"), True, 1.0)
    assert book.rows()[0]["user"] == "?[31mred"


def test_the_number_of_sessions_is_bounded(book):
    for port in range(1, 2100):
        book.packet(packet(b"NOOP\r\n", ports=(port, 21)), True, 1.0)
    rows = book.rows()
    assert (len(rows), rows[-1]["client_port"]) == (2000, 2099)


def test_the_ports_are_those_of_the_servers_of_services_that_follow_ftp():
    plain = Service(1, (Listener("10.0.0.1", "tcp", 80, 80),), "round_robin", ((SERVER, 8080),))
    ported = replace(plain, id=2, ftp=Ftp((21,)), slots=((SERVER, 2121), (SERVER, 2122)))
    kept = replace(ported, id=3, ftp=Ftp((990,)), keep_port=True)
    assert ports_of([plain]) == {21}
    classic = replace(plain, listeners=(Listener("10.0.0.1", "tcp", 21, 21),))
    assert ports_of([classic, replace(classic, keep_port=True)]) == {21, 8080}
    assert ports_of([plain, ported, kept]) == {21, 990, 2121, 2122}

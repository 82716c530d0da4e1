"""FTP by a profile that follows it: active and passive, both IP versions, modes switched off; and without one."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from balanced import pool, service

pytestmark = pytest.mark.root
S1, S2 = "10.78.2.101", "10.78.2.102"
SIX = ("fd78:2::101", "fd78:2::102")
VIP, VIP6 = "10.78.1.90", "fd78:1::90"
MODES = {"passive": ["--ftp-pasv"], "active": ["--ftp-port", "-"]}


def fetch(site, vip, mode, *more):
    """Whether a file of 100,000 bytes comes over."""
    host = f"[{vip}]" if ":" in vip else vip
    words = ["curl", "-sS", "--max-time", "6", *MODES[mode], *more, "-o", "/dev/null", "-w", "%{size_download}"]
    done = site.inside("c1", *words, f"ftp://{host}/data.bin")
    return done.stdout == "100000"


@pytest.fixture(scope="module")
def ftp(mixed):
    """A virtual service with the profile of the system: servers see the engine's address."""
    pool(mixed, "ftp", dict.fromkeys((S1, S2, *SIX), ""), 21)
    fields = "pool_ref ftp\napplication_profile_ref System-FTP\nservices port 20 is_active_ftp_data_port\nsave"
    service(mixed, "ftp", [VIP, VIP6], fields, 21)
    return mixed


@pytest.mark.parametrize("vip", [VIP, VIP6])
@pytest.mark.parametrize("mode", MODES)
def test_both_modes(ftp, vip, mode):
    assert fetch(ftp, vip, mode)
    assert fetch(ftp, vip, mode)


def test_the_plain_commands_of_old_clients(ftp):
    assert fetch(ftp, VIP, "passive", "--disable-epsv")
    assert fetch(ftp, VIP, "active", "--disable-eprt")


def test_no_client_connects_to_the_data_port(ftp):
    assert "21" in ftp.do("show serviceengine se1 vshash")
    assert ftp.call("c1", "tcp", VIP, 20) == ["ConnectionRefusedError"]


def test_with_the_clients_address_kept(ftp):
    ftp.do("configure applicationprofile System-FTP preserve_client_ip\nsave\n")
    try:
        assert fetch(ftp, VIP, "passive")
        assert fetch(ftp, VIP, "active")
    finally:
        ftp.do("configure applicationprofile System-FTP\nno preserve_client_ip\nsave\n")


@pytest.mark.parametrize("off", MODES)
def test_a_mode_that_is_switched_off(ftp, off):
    edit = "configure applicationprofile System-FTP\ntcp_app_profile\nftp_profile\n{}deactivate_{}\nsave\nsave\nsave\n"
    ftp.do(edit.format("", off))
    try:
        for vip in (VIP, VIP6):
            assert {mode for mode in MODES if not fetch(ftp, vip, mode)} == {off}
    finally:
        ftp.do(edit.format("no ", off))


def test_without_the_profile_there_is_no_helper(ftp):
    ftp.do("configure virtualservice ftp\nno services index 2\napplication_profile_ref System-L4-Application\nsave\n")
    assert not fetch(ftp, VIP, "passive", "--disable-epsv")
    assert "ftp_ports" in ftp.inside("se1", "nft", "list", "set", "ip", "avish", "ftp_ports").stdout
    assert "10.78" not in ftp.inside("se1", "nft", "list", "set", "ip", "avish", "ftp_ports").stdout


def test_passive_by_a_range_of_ports(mixed):
    """The recipe of old: all ports of the servers, one server for each client."""
    pool(
        mixed,
        "recipe",
        dict.fromkeys((S1, S2), ""),
        21,
        "use_service_port\napplication_persistence_profile_ref System-Persistence-Client-IP",
    )
    service(mixed, "recipe", ["10.78.1.93"], "pool_ref recipe\nservices port 1024 port_range_end 65534\nsave", 21)
    assert fetch(mixed, "10.78.1.93", "passive")
    assert fetch(mixed, "10.78.1.93", "passive")


SPEAKER = """
import socket
with socket.create_server(("", 2121)) as listener:
    print("ready", flush=True)
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"220 here\\r\\n")
            while line := peer.recv(200):
                passive = b"PASV" in line
                peer.sendall(b"227 Passive (10,78,2,101,8,1).\\r\\n" if passive else b"331 go on\\r\\n")
"""
TALKER = """
import socket
with socket.create_connection(("10.78.1.94", 2021), 5) as peer:
    for line in (b"", b"USER joe", b"PASV"):
        peer.sendall(line + b"\\r\\n" if line else b"")
        peer.recv(200)
"""


@pytest.fixture
def speaker(mixed):
    """A server that speaks FTP on a port of its own, at the first address."""
    argv = ["ip", "netns", "exec", f"{mixed.prefix}-s1", sys.executable, "-c", SPEAKER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


def test_control_connections_on_other_ports_are_read_along_too(mixed, speaker):
    pool(mixed, "ftp-other", {S1: ""}, 2121)
    service(mixed, "ftp-other", ["10.78.1.94"], "pool_ref ftp-other\napplication_profile_ref System-FTP", 2021)

    mixed.inside("c1", sys.executable, "-c", TALKER)
    found, end = [], time.monotonic() + 5
    while time.monotonic() < end and not any(one.get("announced") for one in found):
        rows = json.loads(mixed.do("show ftp sessions --json"))["session"]
        found = [one for one in rows if one["server"] == f"{S1}:2121"]
    (last,) = found
    assert (last["virtualservice"], last["user"]) == ("ftp-other", "joe")
    assert last["announced"].startswith("PASV ")

"""What shows say against what the kernel's own programs say, with real FTP going through."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from site_lab import running

pytestmark = pytest.mark.root
ROOT = Path(__file__).resolve().parents[2]
CLIENT, VIP, SERVER = "10.10.20.100", "10.10.10.50", "10.10.40.101"


def shown(site, command):
    """The JSON of a show command."""
    done = site.shell(command + "\n", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    """The founding lab, with three active transfers made."""
    folder = tmp_path_factory.mktemp("operations")
    with running(ROOT / "fixtures/topologies/active-ftp.yaml", folder, f"t{os.getpid()}o") as site:
        site.do((ROOT / "fixtures/runbooks/active-ftp.avi").read_text())
        for _ in range(3):
            fetch = ("curl", "-sS", "--disable-eprt", "--ftp-port", "-", "-o", "/dev/null", f"ftp://{VIP}/data.bin")
            done = site.inside("client1", *fetch)
            assert done.returncode == 0, done.stderr
        yield site


def conntrack(site, *words):
    return site.inside("se1", "conntrack", "-L", *words).stdout


def test_connections_are_those_of_conntrack(traffic):
    rows = shown(traffic, "show virtualservice ftp-vs connections")["connection"]
    ports = {int(port) for port in re.findall(rf"src={CLIENT} dst={VIP} sport=(\d+) dport=21", conntrack(traffic))}
    assert {row["client_src_port"] for row in rows} == ports
    one = next(iter(ports))
    only = shown(traffic, f"show virtualservice ftp-vs connections filter port {one}")["connection"]
    assert [row["client_src_port"] for row in only] == [one]


def test_filters_find_in_the_kernel_what_they_name(traffic):
    path = "show serviceengine se1 nat-flows filter protocol_str tcp src_port 20"
    assert len(shown(traffic, path)["natflow"]) == 3
    assert shown(traffic, path + " dst_ip_addr 10.10.20.0 dst_ip_mask 24")["natflow"]
    assert shown(traffic, path + " src_ip_addr 10.99.0.1")["natflow"] == []


def test_sums_are_those_of_the_connections(traffic):
    stats = shown(traffic, "show virtualservice ftp-vs detail")["fel4stats"][0]
    counted = [
        int(n) for n in re.findall(rf"src={CLIENT} dst={VIP} sport=\d+ dport=21 packets=(\d+)", conntrack(traffic))
    ]
    assert stats["complete_conns"] == 3
    assert stats["rx_pkts"] == sum(counted)
    nat = shown(traffic, "show serviceengine se1 natstat")["tcpstats"]
    assert nat["num_flows"] == 3
    assert nat["num_rx_bytes"] > 30_000_000


def test_servers_share_what_the_service_carried(traffic):
    rows = shown(traffic, "show pool ftp-pool server detail")
    assert sum(row["server_l4stats"]["complete_conns"] for row in rows) == 3
    assert shown(traffic, "show pool ftp-pool detail")["pool_stats"]["total_connections"] == 3


def test_interface_counters_start_again_and_the_kernels_go_on(traffic):
    before = shown(traffic, "show serviceengine se1 interface filter intfname eth1")["vnics"][0]["interface_stats"]
    traffic.do("clear serviceengine se1 interface\n")
    after = shown(traffic, "show serviceengine se1 interface filter intfname eth1")["vnics"][0]["interface_stats"]
    assert after["obytes"] < 100_000 < before["obytes"]
    kernel = json.loads(traffic.inside("se1", "ip", "-j", "-s", "link", "show", "eth1").stdout)[0]
    assert kernel["stats64"]["tx"]["bytes"] >= before["obytes"]


def test_ftp_sessions_join_announcement_and_connection(traffic):
    rows = shown(traffic, "show ftp sessions")["session"]
    assert len(rows) == 3
    for row in rows:
        assert row["announced"].startswith(f"PORT {CLIENT}:")
        assert (row["client_saw"], row["rule"]) == (f"{VIP}:20", "ftp-nat/1 active-ftp-data")
        assert row["bytes"] > 10_000_000


def test_engines_reach_for_addresses(traffic):
    assert "connected from 10.10.40.11" in traffic.do(f"test serviceengine se1 tcp {SERVER} 21\n")
    assert " 0% packet loss" in traffic.do(f"test serviceengine se1 ping {SERVER}\n")
    refused = traffic.shell(f"test serviceengine se1 tcp {SERVER} 99\n", "--min-output")
    assert "refused" in refused.stdout
    assert (refused.returncode, "was not reached from se1" in refused.stderr) == (1, True)


def test_rates_count_every_packet(traffic):
    text = traffic.inside("se1", "nft", "list", "table", "inet", "avish_rates").stdout
    assert re.search(rf"{SERVER} \. 21 counter packets \d+", text)


def test_events_and_the_archive(traffic, tmp_path):
    described = [one["event_description"] for one in shown(traffic, "show events")["event"]]
    assert any(text.startswith("virtualservice ftp-vs was created by admin") for text in described)
    traffic.do(f"show tech-support file {tmp_path}/support.tar.gz\n")
    with tarfile.open(tmp_path / "support.tar.gz") as archive:
        kernel = next(one for one in archive.getnames() if one.endswith("engines/se1/kernel.txt"))
        found = archive.extractfile(kernel)
        assert found is not None
        assert b"avish_rates" in found.read()

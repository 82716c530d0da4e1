"""Engines on the kernel: what is listed is what was meant, and packets go where they should."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from states import every_construct

from dataplane import remote, wire
from dataplane.diff import diff
from dataplane.errors import DataplaneError, RefusedError, UnreachableError
from dataplane.links import gratuitous_arp
from dataplane.model import NAT_MARK, Address, AddressMatch, Listener, NatRule, PortMatch, Service, SeState
from dataplane.remote import RemoteDriver
from dataplane.taps import CaptureSpec

HANG = 10
CLIENT, ENGINE, VIP = "10.81.0.10", "10.81.0.2", "10.81.0.50"
SERVERS = {"s1": "10.82.0.11", "s2": "10.83.0.12"}
SLOTS = tuple((ip, 8080) for ip in SERVERS.values())
WEB = Service(1, (Listener(VIP, "tcp", 80, 80),), "round_robin", SLOTS)
HIDDEN = Service(2, (Listener(VIP, "tcp", 81, 81),), "source_hash", SLOTS[:1], snat=True)
RANGE = Service(3, (Listener(VIP, "tcp", 8000, 8100),), "round_robin", SLOTS[1:], keep_port=True)
EMPTY = Service(4, (Listener(VIP, "tcp", 82, 82),), "round_robin", ())
RULE = NatRule(9, ("p", 1), (VIP,), source=AddressMatch(("10.82.0.0/24", "10.83.0.0/24")), source_port=PortMatch((20,)))
STATE = SeState(
    {
        VIP: Address(VIP, "eth1", "vip"),
        "10.82.0.1": Address("10.82.0.1", "eth2", "floating"),
        "10.83.0.1": Address("10.83.0.1", "eth3", "floating"),
    },
    {},
    {service.id: service for service in (WEB, HIDDEN, RANGE, EMPTY)},
    {9: RULE},
    {"routing": True},
)

pytestmark = pytest.mark.root


def socket_in(namespace):
    """A TCP socket that lives in a network namespace."""
    made = []

    def make():
        with open(f"/run/netns/{namespace}", "rb") as handle:  # noqa: PTH123
            assert ctypes.CDLL(None).setns(handle.fileno(), 0x40000000) == 0
        made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    made[0].settimeout(HANG)
    made[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made[0]


class Traffic:
    """Sockets in the hosts of a lab, closed at the end."""

    def __init__(self, lab, stack):
        self.lab = lab
        self.stack = stack

    def socket(self, host):
        return self.stack.enter_context(closing(socket_in(self.lab.name(host))))

    def listen(self, host, port):
        server = self.socket(host)
        server.bind(("", port))
        server.listen()
        return server

    def connect(self, host, ip, port, *, source_port=0):
        client = self.socket(host)
        client.bind(("", source_port))
        client.connect((ip, port))
        return client

    def accepted(self, *servers):
        """Which of ``servers`` got the connection, the connection, and from whom it came."""
        ready = select.select(servers, [], [], HANG)[0]
        assert len(ready) == 1
        connection, peer = ready[0].accept()
        return ready[0], self.stack.enter_context(connection), peer


@pytest.fixture
def driver(lab):
    lab.driver.sync(SeState(), 1)
    lab.driver.sync(STATE, 2)
    return lab.driver


@pytest.fixture
def traffic(lab):
    with ExitStack() as stack:
        yield Traffic(lab, stack)


def test_every_construct_is_listed_as_it_was_written(lab):
    state = every_construct()
    lab.driver.sync(SeState(), 1)
    lab.driver.sync(state, 2)
    assert lab.driver.drift() == []
    smaller = SeState(services={1: state.services[1]}, nat={number: state.nat[number] for number in (1, 2, 300)})
    lab.driver.apply(diff(state, smaller), 2, 3)
    assert lab.driver.drift() == []
    lab.driver.apply(diff(smaller, state), 3, 4)
    assert lab.driver.drift() == []


def test_connections_take_turns_and_keep_the_client_address(driver, traffic):
    first, second = (traffic.listen(host, 8080) for host in SERVERS)
    got = []
    for _ in range(4):
        client = traffic.connect("c", VIP, 80)
        server, _, peer = traffic.accepted(first, second)
        assert peer == (CLIENT, client.getsockname()[1])
        got.append(server)
    assert got[:2] == got[2:]
    assert set(got) == {first, second}
    assert driver.counters()["service_1"][0] == 4
    flows = list(driver.flows(1, 0xFFFFFFFF))
    assert len(flows) == 4
    assert {(flow["src"], flow["dst"], flow["dport"], flow["state"]) for flow in flows} == {
        (CLIENT, VIP, 80, "ESTABLISHED")
    }
    assert {(flow["reply_src"], flow["reply_sport"]) for flow in flows} == {(ip, 8080) for ip in SERVERS.values()}
    assert all(flow["age"] is not None and flow["packets"] >= 2 for flow in flows)


def test_a_service_with_snat_hides_the_client(driver, traffic):
    server = traffic.listen("s1", 8080)
    traffic.connect("c", VIP, 81)
    assert traffic.accepted(server)[2][0] == "10.82.0.2"


def test_a_range_keeps_the_port(driver, traffic):
    server = traffic.listen("s2", 8042)
    traffic.connect("c", VIP, 8042)
    assert traffic.accepted(server)[2][0] == CLIENT


def test_without_servers_the_engine_refuses_at_once(driver, traffic):
    with pytest.raises(ConnectionRefusedError):
        traffic.connect("c", VIP, 82)


def test_a_rule_translates_what_matches_and_keeps_the_port(driver, traffic):
    client = traffic.listen("c", 5000)
    traffic.connect("s1", CLIENT, 5000, source_port=20)
    assert traffic.accepted(client)[2] == (VIP, 20)
    traffic.connect("s1", CLIENT, 5000)
    assert traffic.accepted(client)[2][0] == SERVERS["s1"]
    found = driver.counters()
    assert (found["nat_9_evaluated"][0], found["nat_9_hits"][0]) == (2, 1)
    (flow,) = driver.flows(NAT_MARK, NAT_MARK)
    assert (flow["mark"], flow["src"], flow["reply_dst"], flow["reply_dport"]) == (NAT_MARK | 9, SERVERS["s1"], VIP, 20)
    assert [row["sport"] for row in driver.flows(0, 0xFFFFFFFF) if row["src"] == SERVERS["s1"]] != [20]


def test_a_pool_of_several_is_stable_per_source(lab, driver, traffic):
    pool = ("10.81.0.60", "10.81.0.61-10.81.0.63")
    ips = [f"10.81.0.{last}" for last in range(60, 64)]
    state = replace(
        STATE,
        nat={5: NatRule(5, ("p", 1), pool)},
        addresses={**STATE.addresses, **{ip: Address(ip, "eth1", "nat") for ip in ips}},
    )
    driver.sync(state, 3)
    client = traffic.listen("c", 5000)
    for host in ("s1", "s2"):
        seen = set()
        for _ in range(4):
            traffic.connect(host, CLIENT, 5000)
            seen.add(traffic.accepted(client)[2][0])
        assert len(seen) == 1
        assert seen <= set(ips)


def test_only_service_flows_pass_when_routing_is_off(driver, traffic):
    driver.apply(diff(STATE, replace(STATE, switches={})), 2, 3)
    server = traffic.listen("s1", 8080)
    traffic.listen("c", 5000)
    traffic.connect("c", VIP, 81)
    traffic.accepted(server)
    barred = traffic.socket("s1")
    barred.settimeout(0.2)
    with pytest.raises(TimeoutError):
        barred.connect((CLIENT, 5000))


def test_counters_survive_changes_and_mending(lab, driver, traffic):
    server = traffic.listen("s1", 8080)
    traffic.connect("c", VIP, 81)
    traffic.accepted(server)
    changed = replace(STATE, services={**STATE.services, 2: replace(HIDDEN, slots=SLOTS)})
    driver.apply(diff(STATE, changed), 2, 3)
    assert driver.counters()["service_2"][0] == 1
    lab.inside("e", "nft", "add chain ip avish stray; flush chain ip avish service_1; add table ip other")
    assert driver.sync(changed, 4) == [
        "nftables chain stray does not belong here",
        "nftables chain service_1 has other rules",
    ]
    assert driver.counters()["service_2"][0] == 1
    assert "table ip other" in lab.inside("e", "nft", "list", "tables")


def test_a_table_that_cannot_be_mended_is_replaced(lab, driver):
    lab.inside("e", "nft", "delete table ip avish; add table ip avish; add set ip avish slots { type ipv4_addr; }")
    assert driver.sync(STATE, 3)
    assert driver.drift() == []
    lab.inside("e", "nft", "add quota ip avish q 25 mbytes")
    assert "not as we write it" in driver.drift()[0]
    driver.sync(STATE, 4)
    assert driver.drift() == []
    table = lab.inside("e", "nft", "list table ip avish")
    assert "quota" not in table
    assert "map slots" in table


def test_a_change_over_what_others_changed_is_out_of_sync(lab, driver):
    lab.inside("e", "nft", "delete", "table", "ip", "avish")
    with pytest.raises(UnreachableError, match=r"out of sync.*missing"):
        driver.apply(diff(STATE, SeState()), 2, 3)
    assert driver.sync(STATE, 3) != []


def test_neighbours_are_told_where_an_address_is_now(lab, driver):
    driver.apply(diff(STATE, SeState()), 2, 3)
    lab.inside("c", "ip", "neigh", "replace", VIP, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
    driver.apply(diff(SeState(), STATE), 3, 4)
    mac = driver.interfaces()[0].mac
    assert mac in lab.inside("c", "ip", "neigh", "show", VIP)


def test_a_gratuitous_arp_names_the_address_twice():
    frame = gratuitous_arp(bytes.fromhex("020000000001"), "10.0.0.1", 1)
    assert len(frame) == 42
    assert frame[28:32] == frame[38:42] == bytes([10, 0, 0, 1])


def test_traffic_and_state_survive_the_agent(lab, driver, traffic):
    server = traffic.listen("s1", 8080)
    client = traffic.connect("c", VIP, 81)
    _, connection, _ = traffic.accepted(server)
    lab.kill()
    with pytest.raises(UnreachableError, match="no agent answers"):
        driver.interfaces()
    traffic.connect("c", VIP, 81)
    traffic.accepted(server)
    client.sendall(b"still here")
    assert connection.recv(20) == b"still here"
    lab.start()
    assert driver.hello()["revision"] is None
    assert driver.sync(STATE, 2) == []
    assert driver.counters()["service_2"][0] == 2


def test_a_flood_of_garbage_does_not_end_the_agent(lab, driver):
    for data in (b"\xff\xff\xff\xff", b"\0\0\0\4junk", b"\0\0\0\2[]", b"\0\0"):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(HANG)
            raw.connect(str(lab.socket))
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(1000):
                pass
    for operation in ("no_such_operation", "__class__", "_call", "sync", "flows", "capture"):
        with pytest.raises(DataplaneError):
            driver._call(operation, "nonsense")
    hello = driver.hello()
    assert (hello["pid"], hello["version"]) == (lab.process.pid, wire.VERSION)


def test_one_agent_per_socket(lab, driver):
    second = subprocess.run(
        [sys.executable, "-m", "dataplane.agent", "--namespace", lab.name("e"), "--socket", str(lab.socket)],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert second.returncode == 1
    assert "another agent serves this socket" in second.stderr.splitlines()[-1]
    assert driver.drift() == []


def test_an_agent_without_its_namespace_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dataplane.agent", "--namespace", "no-such-one", "--socket", str(tmp_path / "s")],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 1
    assert "no-such-one" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_socket_is_for_root_only(lab):
    assert os.stat(lab.socket).st_mode & 0o777 == 0o600  # noqa: PTH116


def test_a_capture_streams_both_sides_of_translated_packets(lab, driver, traffic):
    server = traffic.listen("s1", 8080)
    tap = driver.capture(CaptureSpec(("nat",)))
    client = traffic.connect("c", VIP, 81)
    traffic.accepted(server)
    packets = []
    for batch in tap:
        if batch is not None:
            packets += batch.packets
            if len(packets) == 6:  # SYN, SYN-ACK, ACK, on both sides
                tap.close()
    first, second = packets[:2]
    assert (first.point, first.direction, first.mark, first.interface) == ("before", "original", 2, "eth1")
    assert (second.point, second.direction, second.interface) == ("after", "original", "eth2")
    assert socket.inet_ntoa(first.data[16:20]) == VIP
    assert socket.inet_ntoa(second.data[16:20]) == SERVERS["s1"]
    assert tap.lost == 0
    assert "avish_cap" not in lab.inside("e", "nft", "list", "tables")
    client.close()


def test_a_capture_ends_when_its_reader_goes(lab, driver):
    tap = driver.capture(CaptureSpec(("nat",)))
    assert "avish_cap" in lab.inside("e", "nft", "list", "tables")
    tap.close()
    deadline = time.monotonic() + HANG
    while "avish_cap" in lab.inside("e", "nft", "list", "tables"):
        assert time.monotonic() < deadline


def children(pid):
    """The processes that a process has started and that run."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(one) for thread in threads for one in (thread / "children").read_text().split()]


def test_a_capture_outlives_a_frozen_agent_and_ends_when_its_own_process_freezes(lab, driver, monkeypatch):
    monkeypatch.setattr(remote, "CAPTURE_SECONDS", 2.0)
    tap = driver.capture(CaptureSpec(("nat",)))
    (child,) = children(lab.process.pid)
    lab.process.send_signal(signal.SIGSTOP)
    try:
        batches = iter(tap)
        assert next(batches) is None
    finally:
        lab.process.send_signal(signal.SIGCONT)
    os.kill(child, signal.SIGSTOP)
    try:
        with pytest.raises(UnreachableError, match="said nothing"):
            list(batches)
    finally:
        os.kill(child, signal.SIGCONT)
    deadline = time.monotonic() + HANG
    while "avish_cap" in lab.inside("e", "nft", "list", "tables"):
        assert time.monotonic() < deadline


def test_a_capture_whose_process_is_killed_leaves_no_rules_and_says_so(lab, driver):
    batches = iter(driver.capture(CaptureSpec(("nat",))))
    assert next(batches) is None
    (child,) = children(lab.process.pid)
    os.kill(child, signal.SIGKILL)
    with pytest.raises(RefusedError, match="capture process on the engine was killed by signal 9"):
        list(batches)
    assert "avish_cap" not in lab.inside("e", "nft", "list", "tables")


def test_a_slow_agent_is_unreachable(tmp_path):
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.1 s"):
            RemoteDriver(path, call_seconds=0.1).interfaces()

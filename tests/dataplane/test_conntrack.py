from __future__ import annotations

import socket

import pytest

from dataplane import conntrack, netlink
from dataplane.flowlayout import Layouts


def flow_tuple(src, dst, protocol, *ports):
    addresses = netlink.nested(
        1, netlink.attribute(1, socket.inet_aton(src)), netlink.attribute(2, socket.inet_aton(dst))
    )
    numbers = [netlink.attribute(kind, port.to_bytes(2, "big")) for kind, port in zip((2, 3), ports, strict=False)]
    return addresses + netlink.nested(2, netlink.attribute(1, bytes([protocol])), *numbers)


def eight(number):
    return number.to_bytes(8, "big")


def attributes(
    *, protocol=6, ports=(40000, 21), reply_ports=(2121, 40000), state=3, timeout=431990, started=1000, counted=True
):
    """The values of one message, as a layout reads them."""
    data = netlink.attribute(1, flow_tuple("10.0.0.1", "10.0.0.50", protocol, *ports))
    data += netlink.attribute(2, flow_tuple("10.1.0.1", "10.0.0.1", protocol, *reply_ports))
    data += netlink.big32(3, 0x1AE) + netlink.big32(7, timeout) + netlink.big32(8, 0x80000005)
    if protocol == 6:
        data += netlink.nested(4, netlink.nested(1, netlink.attribute(1, bytes([state]))))
    if counted:
        data += netlink.nested(9, netlink.attribute(1, eight(3)), netlink.attribute(2, eight(180)))
        data += netlink.nested(10, netlink.attribute(1, eight(2)), netlink.attribute(2, eight(120)))
        data += netlink.nested(20, netlink.attribute(1, eight(started * 10**9)))
    return Layouts().read(netlink.netfilter_header(2) + data)


class Full:
    """Timeouts as the kernel has them by default."""

    def of(self, protocol, state, status):
        return {6: 432000, 17: 30, 1: 30}[protocol]


def test_every_key_is_there():
    assert conntrack.row(attributes(), 1025.5, Full()) == {
        "protocol": 6,
        "src": "10.0.0.1",
        "sport": 40000,
        "dst": "10.0.0.50",
        "dport": 21,
        "reply_src": "10.1.0.1",
        "reply_sport": 2121,
        "reply_dst": "10.0.0.1",
        "reply_dport": 40000,
        "status": 0x1AE,
        "mark": 0x80000005,
        "state": "ESTABLISHED",
        "timeout": 431990,
        "age": 25,
        "last_used": 10,
        "packets": 3,
        "bytes": 180,
        "reply_packets": 2,
        "reply_bytes": 120,
    }


def test_icmp_has_no_ports_and_no_state():
    row = conntrack.row(attributes(protocol=1, ports=(), reply_ports=()), 1001.0, Full())
    assert (row["sport"], row["reply_dport"], row["state"]) == (0, 0, "")


@pytest.mark.parametrize(
    ("timeout", "now", "expected"),
    [(431990, 1005.0, None), (500000, 1005.0, None), (432000, 1000.0, 0), (431990, 2000.0, 10)],
)
def test_last_use_is_told_only_when_it_can_be_true(timeout, now, expected):
    assert conntrack.row(attributes(timeout=timeout), now, Full())["last_used"] == expected


def test_without_time_stamps_and_counters_age_is_unknown():
    row = conntrack.row(attributes(counted=False), 1005.0, Full())
    assert (row["age"], row["packets"], row["last_used"]) == (None, 0, 10)


def test_messages_of_one_length_that_are_built_differently_are_both_understood():
    layouts = Layouts()
    header = netlink.netfilter_header(2)
    pair = netlink.nested(1, flow_tuple("10.0.0.1", "10.0.0.2", 6, 1, 2)) + netlink.nested(
        2, flow_tuple("10.0.0.2", "10.0.0.1", 6, 2, 1)
    )
    marked = layouts.read(header + pair + netlink.big32(8, 7) + netlink.big32(3, 1))
    other = layouts.read(header + pair + netlink.big32(3, 1) + netlink.big32(8, 7))
    assert (marked["mark"], marked["status"]) == (other["mark"], other["status"]) == (7, 1)

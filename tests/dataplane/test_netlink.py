from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane import netlink

ATTRIBUTES = st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8)


@given(ATTRIBUTES)
def test_attributes_come_back_in_order(attributes):
    data = b"".join(netlink.attribute(kind, payload) for kind, payload in attributes)
    assert list(netlink.each(data)) == attributes
    assert netlink.parse(data) == dict(attributes)


def test_nested_attributes_lose_their_flag():
    data = netlink.nested(5, netlink.big32(1, 7), netlink.text(2, "name"))
    inner = netlink.parse(netlink.parse(data)[5])
    assert inner == {1: b"\0\0\0\7", 2: b"name\0"}


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_without_complaint(data):
    netlink.parse(data)
    list(netlink.messages(data))


def message(kind, body, sequence=1):
    return struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body + b"\0" * (-len(body) % 4)


def test_a_datagram_is_split_and_its_torn_end_left_out():
    data = message(7, b"abc") + message(8, b"", 2) + message(9, b"long enough")[:-4]
    assert [(m.type, m.sequence, m.body) for m in netlink.messages(data)] == [(7, 1, b"abc"), (8, 2, b"")]


def test_an_error_is_raised_and_an_acknowledgement_is_not():
    (refused,) = netlink.messages(message(netlink.MESSAGE_ERROR, struct.pack("=i", -2) + b"\0" * 16))
    with pytest.raises(netlink.NetlinkError, match="No such file"):
        netlink.raise_error(refused)
    (fine,) = netlink.messages(message(netlink.MESSAGE_ERROR, bytes(20)))
    netlink.raise_error(fine)


@pytest.mark.root
def test_a_silent_kernel_is_a_timeout():
    with netlink.Netlink(timeout=0.01) as kernel, pytest.raises(netlink.NetlinkTimeoutError):
        kernel.receive()


@pytest.mark.root
def test_a_refused_request_is_an_error():
    with netlink.Netlink() as kernel, pytest.raises(netlink.NetlinkError):
        kernel.request(netlink.netfilter_type(10, 1), netlink.netfilter_header(2) + netlink.text(1, "no_such_table"))

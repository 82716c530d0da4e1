"""A step on an address is carried out whole or not at all; the kernel is simulated here."""

from __future__ import annotations

import errno

import pytest

from dataplane import links
from dataplane.diff import Step
from dataplane.errors import RefusedError
from dataplane.model import Address
from dataplane.netlink import NetlinkError

INTERFACES = {"lo": 1, "eth1": 2, "eth2": 3}
HERE, THERE = Address("10.0.0.1", "eth1", "vip"), Address("10.0.0.1", "eth2", "vip")


class Kernel:
    """Holds addresses; ``refused`` are pairs of operation and interface number."""

    def __init__(self):
        self.held = set()
        self.refused = set()

    def _may(self, operation, index):
        if (operation, index) in self.refused:
            raise NetlinkError(errno.EPERM, "no")

    def put_address(self, _kernel, index, ip):
        self._may("add", index)
        self.held.add((index, ip))

    def drop_address(self, _kernel, index, ip):
        self._may("del", index)
        self.held.remove((index, ip))


def no_device(*_):
    raise OSError(errno.ENODEV, "No such device")


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(links.rtnetlink, "changer", lambda: made)
    monkeypatch.setattr(links.rtnetlink, "put_address", made.put_address)
    monkeypatch.setattr(links.rtnetlink, "drop_address", made.drop_address)
    monkeypatch.setattr(links, "announce", no_device)
    monkeypatch.setattr(links, "_HANDLES", links._Handles())
    monkeypatch.setattr(links, "_index", lambda name: INTERFACES[name or "lo"])
    return made


def test_an_address_that_cannot_be_announced_is_in_place(kernel, caplog):
    links.perform(Step("put", "addresses", HERE.ip, None, HERE))
    assert kernel.held == {(2, HERE.ip)}
    assert "address 10.0.0.1 on eth1 could not be announced" in caplog.text


def test_an_address_moves(kernel):
    kernel.held = {(2, HERE.ip)}
    links.perform(Step("put", "addresses", HERE.ip, HERE, THERE))
    assert kernel.held == {(3, HERE.ip)}


@pytest.mark.parametrize("refused", [("add", 3), ("del", 2)])
def test_a_move_that_fails_at_either_half_leaves_the_address_where_it_was(kernel, refused):
    kernel.held = {(2, HERE.ip)}
    kernel.refused = {refused}
    with pytest.raises(RefusedError, match="on eth2 cannot be set"):
        links.perform(Step("put", "addresses", HERE.ip, HERE, THERE))
    assert kernel.held == {(2, HERE.ip)}


def test_a_kernel_that_cannot_be_asked_refuses(monkeypatch):
    def full():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(links.rtnetlink, "changer", full)
    monkeypatch.setattr(links, "_HANDLES", links._Handles())
    with pytest.raises(RefusedError, match="Too many open files"):
        links.perform(Step("put", "addresses", HERE.ip, None, HERE))

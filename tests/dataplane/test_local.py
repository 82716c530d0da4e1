"""A change that fails at any of its steps leaves everything as it was; the kernel is simulated here."""

from __future__ import annotations

import errno

import pytest
from pyroute2.netlink.exceptions import NetlinkError as RouteError

from dataplane import capture, conntrack, counters, links, local, nftrun, sysctl
from dataplane.diff import Step, diff
from dataplane.errors import RefusedError, UnreachableError
from dataplane.model import Address, Listener, Route, Service, SeState
from dataplane.netlink import NetlinkError, NetlinkTimeoutError
from dataplane.refusals import Surroundings

OLD = SeState(
    {"10.0.0.1": Address("10.0.0.1", "eth1", "vip"), "10.0.0.2": Address("10.0.0.2", "eth1", "vip")},
    {"10.1.0.0/24": Route("10.1.0.0/24", "10.0.0.9")},
    {1: Service(1, (Listener("10.0.0.1", "tcp", 80, 80),), "round_robin", ())},
)
NEW = SeState(
    {"10.0.0.1": Address("10.0.0.1", "eth2", "vip"), "10.0.0.3": Address("10.0.0.3", "eth1", "vip")},
    {"10.2.0.0/24": Route("10.2.0.0/24", "10.0.0.9")},
    {2: Service(2, (Listener("10.0.0.3", "tcp", 80, 80),), "round_robin", ())},
)


class Kernel:
    """Carries out steps and loads; the one with number ``failing`` raises ``error``, ``broken``: all after it too."""

    def __init__(self):
        self.links = {}
        self.loaded = []
        self.count = 0
        self.failing = None
        self.broken = False
        self.error = RefusedError

    def step(self):
        self.count += 1
        if self.failing is not None and (self.count == self.failing or (self.broken and self.count > self.failing)):
            raise self.error(f"step {self.count} fails")

    def perform(self, step):
        self.step()
        if step.op == "put":
            self.links[step.table, step.key] = step.new
        else:
            del self.links[step.table, step.key]

    def load(self, commands):
        self.step()
        self.loaded.append(commands)


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(sysctl, "prepare", lambda: None)
    monkeypatch.setattr(local.abilities, "probe", dict)
    monkeypatch.setattr(sysctl, "write", lambda name, value: None)
    monkeypatch.setattr(sysctl, "forwards", lambda: True)
    monkeypatch.setattr(capture, "clean_stale", list)
    monkeypatch.setattr(links, "perform", made.perform)
    monkeypatch.setattr(links, "own_addresses", list)
    monkeypatch.setattr(links, "own_routes", list)
    monkeypatch.setattr(local, "refusals", lambda plan, target, around: [])
    monkeypatch.setattr(local.Around, "now", lambda _: Surroundings([], frozenset(), frozenset()))
    monkeypatch.setattr(local, "Loader", lambda: made)
    monkeypatch.setattr(nftrun, "load", made.load)
    monkeypatch.setattr(local, "_compare", lambda state, words: (None, []))
    return made


@pytest.fixture
def driver(kernel):
    made = local.LocalDriver()
    made.sync(OLD, 1)
    kernel.count = 0
    kernel.loaded.clear()
    return made


STEPS = len([step for step in diff(OLD, NEW) if step.table in ("addresses", "routes")]) + 1


@pytest.mark.parametrize("failing", range(1, STEPS + 1))
def test_a_failure_at_any_step_ends_in_the_old_state(driver, kernel, failing):
    before = dict(kernel.links)
    kernel.failing = failing
    with pytest.raises(RefusedError, match=f"step {failing} fails"):
        driver.apply(diff(OLD, NEW), 1, 2)
    assert kernel.links == before
    assert len(kernel.loaded) in (0, 2)  # the change and its reverse, or neither
    assert driver.revision == 1
    kernel.failing = None
    driver.apply(diff(OLD, NEW), 1, 2)
    assert driver.revision == 2


def test_what_cannot_be_taken_back_is_out_of_sync(driver, kernel):
    kernel.failing, kernel.broken = 3, True
    with pytest.raises(RefusedError, match="step 3 fails"):
        driver.apply(diff(OLD, NEW), 1, 2)
    assert driver.revision is None
    with pytest.raises(UnreachableError, match="out of sync"):
        driver.check(())


@pytest.mark.parametrize("failing", range(1, STEPS + 1))
def test_an_error_in_the_middle_of_a_step_is_out_of_sync(driver, kernel, failing):
    kernel.failing, kernel.error = failing, OSError
    with pytest.raises(OSError, match=f"step {failing} fails"):
        driver.apply(diff(OLD, NEW), 1, 2)
    assert driver.revision is None
    with pytest.raises(UnreachableError, match="out of sync"):
        driver.apply(diff(OLD, NEW), 1, 2)
    driver.sync(NEW, 2)
    assert driver.revision == 2


def test_whatever_stops_the_way_back_the_refusal_is_told(driver, kernel, monkeypatch):
    kernel.failing = 3
    monkeypatch.setattr(local, "reverse", lambda plan: 1 // 0)
    with pytest.raises(RefusedError, match="step 3 fails"):
        driver.apply(diff(OLD, NEW), 1, 2)
    assert driver.revision is None


def test_a_sync_goes_as_far_as_it_can(kernel):
    driver = local.LocalDriver()
    kernel.failing = 1
    with pytest.raises(RefusedError, match="step 1 fails"):
        driver.sync(OLD, 1)
    assert len(kernel.links) == 2
    assert len(kernel.loaded) == 1
    assert driver.revision is None


def test_addresses_and_routes_are_compared_by_what_the_kernel_knows(monkeypatch):
    monkeypatch.setattr(
        links, "own_addresses", lambda: [Address("10.0.0.1", "eth2", "vip"), Address("10.0.0.2", "eth1", "vip")]
    )
    monkeypatch.setattr(links, "own_routes", lambda: [Route("10.1.0.0/24", "10.0.0.9", "eth1")])
    wanted = SeState(
        {"10.0.0.1": Address("10.0.0.1", "eth1", "vip"), "10.0.0.2": Address("10.0.0.2", "eth1", "nat")}, OLD.routes
    )
    moved = Address("10.0.0.1", "eth1", "vip")
    gone = Address("10.0.0.1", "eth2", "vip")
    assert local.link_plan(wanted) == (
        Step("put", "addresses", "10.0.0.1", None, moved),
        Step("drop", "addresses", "10.0.0.1", gone, None),
    )


def listing(*rules):
    inner = "".join(f"\t\t{rule}\n" for rule in ("type filter hook forward priority 0; policy drop;", *rules))
    return f"table ip avish {{\n\tchain forward {{\n{inner}\t}}\n}}\n"


SERVICES_PASS = "ct mark 0x00000001-0x7fffffff goto service_flows"


@pytest.mark.parametrize(
    ("found", "forwards"),
    [
        (listing(SERVICES_PASS, "accept"), True),
        (listing(SERVICES_PASS), False),
        (listing("accept", "drop"), False),
        (None, False),
    ],
)
def test_forwarding_is_the_chain_that_lets_all_pass(driver, monkeypatch, found, forwards):
    monkeypatch.setattr(nftrun, "chain_listing", {"forward": found}.get)
    assert driver.forwarding() is forwards
    monkeypatch.setattr(sysctl, "forwards", lambda: False)
    assert not driver.forwarding()


@pytest.mark.parametrize(
    ("error", "translated"),
    [
        (NetlinkError(errno.EPERM, "not for you"), RefusedError),
        (RouteError(errno.EPERM, "not for you"), RefusedError),
        (OSError(errno.EMFILE, "not for you"), RefusedError),
        (NetlinkTimeoutError(errno.ETIMEDOUT, "silence"), UnreachableError),
        (TimeoutError("silence"), UnreachableError),
    ],
)
def test_what_the_kernel_does_not_tell_is_an_error_of_the_dataplane(driver, monkeypatch, error, translated):
    def fail(*_):
        raise error

    def fail_late(*_):
        yield {"mark": 1}
        raise error

    monkeypatch.setattr(counters, "counters", fail)
    monkeypatch.setattr(conntrack, "flows", fail_late)
    monkeypatch.setattr(links, "route_rows", fail)
    for read in (driver.counters, driver.routes, lambda: list(driver.flows(0, 0))):
        with pytest.raises(translated, match="the kernel does not tell its"):
            read()

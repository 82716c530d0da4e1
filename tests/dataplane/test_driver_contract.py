"""What every Driver does, on the fake and on the kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.diff import applied, diff, reverse
from dataplane.errors import RefusedError, UnreachableError
from dataplane.fake import FakeDriver
from dataplane.model import (
    Address,
    AddressMatch,
    Interface,
    Leaving,
    Limits,
    Listener,
    NatRule,
    Persistence,
    Rate,
    Route,
    ServerLimits,
    Service,
    SeState,
)

INTERFACES = [
    Interface("eth1", 2, "02:00:00:00:00:01", 1500, True, ("10.81.0.2/24",)),
    Interface("eth2", 3, "02:00:00:00:00:02", 1500, True, ("10.82.0.2/24",)),
    Interface("eth3", 4, "02:00:00:00:00:03", 1500, True, ("10.83.0.2/24",)),
]
FTP = Service(
    1,
    (Listener("10.81.0.50", "tcp", 21, 21), Listener("10.81.0.50", "tcp", 8000, 8010)),
    "round_robin",
    (("10.82.0.11", 21), ("10.83.0.12", 21)),
)
WEB = Service(2, (Listener("10.81.0.51", "tcp", 80, 80),), "source_hash", (("10.82.0.11", 80),), snat=True)
DUAL = Service(
    5,
    (
        Listener("fd81::50", "tcp", 21, 21),
        Listener("fd81::50", "udp", 5000, 6000),
        Listener("10.81.0.52", "tcp", 21, 21),
    ),
    "random",
    (("fd82::11", 21), ("10.82.0.11", 21), ("fd82::11", 2121)),
    leaving=(Leaving("fd82::12", 21, 60), Leaving("10.82.0.12", 21, -1)),
    persistence=Persistence(24, 300),
    limits=Limits(Rate(100), Rate(10), 1000),
    server_limits=ServerLimits(100),
)
STATE = SeState(
    {
        "fd81::50": Address("fd81::50", "eth1", "vip"),
        "fd99::1": Address("fd99::1", "", "vip"),
        "10.81.0.50": Address("10.81.0.50", "eth1", "vip"),
        "10.82.0.1": Address("10.82.0.1", "eth2", "floating"),
        "10.99.0.1": Address("10.99.0.1", "", "vip"),
    },
    {"10.77.0.0/24": Route("10.77.0.0/24", "10.81.0.10")},
    {1: FTP, 2: WEB, 5: DUAL},
    {9: NatRule(9, ("p", 1), ("10.81.0.50",), source=AddressMatch(("10.82.0.0/24",)))},
    {"routing": True},
)


class FakeEngine:
    def __init__(self):
        self.driver = FakeDriver(INTERFACES)

    def restart(self):
        self.driver.restart()

    def flush(self):
        self.driver.kernel = SeState()


class KernelEngine:
    def __init__(self, lab):
        self.lab = lab
        self.driver = lab.driver

    def restart(self):
        self.lab.kill()
        self.lab.start()

    def flush(self):
        self.lab.inside("e", "nft", "flush", "ruleset")
        self.lab.inside("e", "ip", "route", "flush", "proto", "201")
        for row in self.driver.addresses():
            if row["own"]:
                self.lab.inside("e", "ip", "addr", "del", f"{row['ip']}/{row['prefixlen']}", "dev", row["interface"])


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.root)])
def engine(request):
    """An engine that holds nothing, at revision 1."""
    made = FakeEngine() if request.param == "fake" else KernelEngine(request.getfixturevalue("lab"))
    made.driver.sync(SeState(), 1)
    return made


@pytest.fixture
def driver(engine):
    return engine.driver


def own_addresses(driver):
    return {(row["ip"], row["prefixlen"], row["interface"]) for row in driver.addresses() if row["own"]}


def own_routes(driver):
    return {(row["prefix"], row["gateway"]) for row in driver.routes() if row["protocol"] == "avish"}


def listeners(driver):
    return {(row["ip"], row["protocol"], row["first"], row["last"], row["service"]) for row in driver.listeners()}


def assert_holds(driver, state):
    assert driver.drift() == []
    assert own_addresses(driver) == {
        (one.ip, 128 if ":" in one.ip else 32, one.interface or "lo") for one in state.addresses.values()
    }
    assert own_routes(driver) == {(one.prefix, one.gateway) for one in state.routes.values()}
    assert listeners(driver) == {
        (one.ip, one.protocol, one.first, one.last, service.id)
        for service in state.services.values()
        for one in service.listeners
    }
    of_services = {name for service in state.services.values() for name in service.counters}
    assert driver.counters().keys() == of_services | {
        f"nat_{number}_{what}" for number in state.nat for what in ("evaluated", "hits")
    }
    assert driver.forwarding() is bool(state.switches.get("routing"))


def test_the_interfaces_are_told_without_loopback(driver):
    assert [(link.name, link.up) for link in driver.interfaces()] == [("eth1", True), ("eth2", True), ("eth3", True)]
    assert driver.interfaces()[0].addresses == ("10.81.0.2/24",)


def test_sync_says_what_it_changed_and_nothing_the_second_time(driver):
    assert driver.sync(STATE, 2)
    assert_holds(driver, STATE)
    assert driver.sync(STATE, 3) == []


def test_a_plan_is_carried_out(driver):
    plan = diff(SeState(), STATE)
    driver.check(plan)
    assert_holds(driver, SeState())
    driver.apply(plan, 1, 2)
    assert_holds(driver, STATE)
    assert "10.81.0.50/32" in driver.interfaces()[0].addresses


CHANGES = {
    "another server": replace(STATE, services={**STATE.services, 1: replace(FTP, slots=(("10.83.0.12", 2121),))}),
    "no server": replace(STATE, services={**STATE.services, 1: replace(FTP, slots=())}),
    "another listener": replace(
        STATE,
        services={**STATE.services, 1: replace(FTP, listeners=(Listener("10.81.0.50", "tcp", 8000, 8020),))},
    ),
    "a listener changes hands": replace(
        STATE,
        services={
            1: replace(FTP, listeners=FTP.listeners[:1]),
            2: replace(WEB, listeners=FTP.listeners[1:]),
        },
    ),
    "the port is kept": replace(STATE, services={**STATE.services, 1: replace(FTP, keep_port=True, snat=True)}),
    "one more server": replace(
        STATE,
        services={**STATE.services, 5: replace(DUAL, slots=(*DUAL.slots, ("fd82::12", 21)), leaving=DUAL.leaving[1:])},
    ),
    "no limits, no persistence": replace(
        STATE, services={**STATE.services, 5: replace(DUAL, limits=Limits(), persistence=None)}
    ),
    "another persistence of one of two": replace(
        STATE, services={**STATE.services, 2: replace(WEB, persistence=DUAL.persistence)}
    ),
    "all ports of a network": replace(
        STATE, services={**STATE.services, 2: replace(WEB, listeners=(Listener("10.7.0.0/16", "tcp", 0, 65535),))}
    ),
    "an IPv6 address moves": replace(
        STATE, addresses={**STATE.addresses, "fd99::1": Address("fd99::1", "eth3", "vip")}
    ),
    "a service goes": replace(STATE, services={2: WEB, 5: DUAL}),
    "everything goes": SeState(),
    "an address moves": replace(STATE, addresses={**STATE.addresses, "10.99.0.1": Address("10.99.0.1", "eth3", "vip")}),
    "an address changes its kind only": replace(
        STATE, addresses={**STATE.addresses, "10.99.0.1": Address("10.99.0.1", "", "nat")}
    ),
    "another gateway": replace(STATE, routes={"10.77.0.0/24": Route("10.77.0.0/24", "10.82.0.11")}),
    "another rule first": replace(STATE, nat={**STATE.nat, 10: NatRule(10, ("a", 1), ("10.81.0.51",))}),
    "other matches": replace(STATE, nat={9: replace(STATE.nat[9], source=None, pool=("10.81.0.50", "10.81.0.51"))}),
    "routing off": replace(STATE, switches={}),
    "answers go back": replace(STATE, switches={**STATE.switches, "auto_gateway": True}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_carried_out_and_its_reverse_restores(driver, name):
    driver.sync(STATE, 2)
    plan = diff(STATE, CHANGES[name])
    driver.check(plan)
    driver.apply(plan, 2, 3)
    assert_holds(driver, CHANGES[name])
    driver.apply(reverse(plan), 3, 4)
    assert_holds(driver, STATE)


WRONG = {
    "gateway nowhere": (
        {"routes": {"10.78.0.0/24": Route("10.78.0.0/24", "172.16.0.1")}},
        "gateway 172.16.0.1 is in no network",
    ),
    "gateway elsewhere": (
        {"routes": {"10.78.0.0/24": Route("10.78.0.0/24", "10.81.0.10", "eth2")}},
        "gateway 10.81.0.10 is in no network",
    ),
    "gateway is the engine": ({"routes": {"10.78.0.0/24": Route("10.78.0.0/24", "10.81.0.2")}}, "engine itself"),
    "network of the engine": ({"routes": {"10.82.0.0/24": Route("10.82.0.0/24", "10.81.0.10")}}, "not ours"),
    "no such interface": (
        {"addresses": {"10.81.0.60": Address("10.81.0.60", "eth9", "vip")}},
        "no interface eth9",
    ),
    "own address": (
        {"addresses": {"10.81.0.2": Address("10.81.0.2", "eth1", "vip")}},
        "engine's own interface address",
    ),
    "no address": ({"addresses": {"10.81.0.999": Address("10.81.0.999", "eth1", "vip")}}, "not an IP address"),
    "listener taken": (
        {"services": {3: replace(FTP, id=3, listeners=FTP.listeners[:1])}},
        "10.81.0.50 tcp port 21 is taken by service 1 and wanted by service 3",
    ),
    "range taken": (
        {"services": {3: replace(FTP, id=3, listeners=(Listener("10.81.0.50", "tcp", 8005, 8020),))}},
        "taken by service 1",
    ),
    "pool is no address": ({"nat": {3: NatRule(3, ("p", 3), ("10.81.0.9-10.81.0.1",))}}, "10.81.0.9-10.81.0.1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_plan_is_refused_whole(driver, name):
    """The rest of the plan is good and would be carried out before and after the wrong part."""
    driver.sync(STATE, 2)
    parts, reason = WRONG[name]
    good = {
        "addresses": {"10.81.0.70": Address("10.81.0.70", "eth1", "vip")},
        "services": {8: replace(WEB, id=8, listeners=(Listener("10.81.0.70", "tcp", 80, 80),))},
    }
    tables = good.keys() | parts.keys()
    target = replace(
        STATE, **{table: {**getattr(STATE, table), **good.get(table, {}), **parts.get(table, {})} for table in tables}
    )
    target = replace(target, routes={key: route for key, route in target.routes.items() if key != "10.77.0.0/24"})
    plan = diff(STATE, target)
    for attempt in (driver.check, lambda plan: driver.apply(plan, 2, 3)):
        with pytest.raises(RefusedError) as refused:
            attempt(plan)
        assert reason in str(refused.value)
        assert_holds(driver, STATE)
    driver.apply(diff(STATE, SeState()), 2, 3)
    assert_holds(driver, SeState())


def test_another_base_is_out_of_sync(driver):
    with pytest.raises(UnreachableError, match="out of sync"):
        driver.apply(diff(SeState(), STATE), 7, 8)
    assert_holds(driver, SeState())


def test_after_a_restart_a_sync_is_needed_and_finds_everything_in_place(engine):
    driver = engine.driver
    driver.sync(STATE, 2)
    engine.restart()
    for attempt in (driver.check, lambda plan: driver.apply(plan, 2, 3)):
        with pytest.raises(UnreachableError, match="out of sync"):
            attempt(diff(STATE, SeState()))
    assert driver.drift()
    assert driver.sync(STATE, 2) == []
    assert_holds(driver, STATE)


def test_a_restart_forgets_no_address_and_no_route(engine):
    engine.driver.sync(STATE, 2)
    engine.restart()
    assert engine.driver.sync(SeState(), 3)
    assert_holds(engine.driver, SeState())


def test_what_others_flushed_is_drift_and_comes_back(engine):
    driver = engine.driver
    driver.sync(STATE, 2)
    engine.flush()
    assert driver.drift() or driver.repairs()  # an agent puts it right by itself
    assert driver.sync(STATE, 3) or driver.repairs()
    assert_holds(driver, STATE)


def test_an_empty_plan_moves_the_revision(driver):
    driver.apply((), 1, 2)
    driver.apply(diff(SeState(), STATE), 2, 3)
    assert_holds(driver, applied(SeState(), diff(SeState(), STATE)))


def test_a_fresh_engine_has_no_flows_of_services(driver):
    assert list(driver.flows(0x7FFFFFFE, 0xFFFFFFFF)) == []

from __future__ import annotations

import pytest

from dataplane.errors import RefusedError, UnreachableError
from dataplane.fake import FakeDriver
from dataplane.model import Interface, NatRule, Service, SeState
from dataplane.taps import Batch, CaptureSpec, Packet

PACKET = Packet(10**9, "after", "reply", 5, "eth1", 40, b"")


@pytest.fixture
def driver():
    return FakeDriver([Interface("eth1", 2, "02:00:00:00:00:01", 1500, True, ("10.0.0.2/24",))])


def test_it_fails_as_told(driver):
    driver.failures["sync"] = RefusedError("no")
    with pytest.raises(RefusedError, match="no"):
        driver.sync(SeState(), 1)
    driver.reachable = False
    with pytest.raises(UnreachableError):
        driver.counters()
    assert driver.calls == ["sync", "counters"]


def test_it_shows_what_it_was_given(driver):
    driver.sync(SeState(services={1: Service(1, (), "round_robin", ())}, nat={2: NatRule(2, ("p", 1), ())}), 1)
    driver.counter_values["service_1"] = (3, 180)
    driver.flow_rows = [{"mark": 1}, {"mark": 0x80000002}, {"mark": 0}]
    assert driver.counters() == {"service_1": (3, 180), "nat_2_evaluated": (0, 0), "nat_2_hits": (0, 0)}
    assert [row["mark"] for row in driver.flows(0x80000000, 0x80000000)] == [0x80000002]
    assert [row["mark"] for row in driver.flows(0, 0xFFFFFFFF)] == [0]
    driver.neighbour_rows = [{"ip": "10.0.0.9", "mac": None, "interface": "eth1", "state": "FAILED"}]
    assert driver.neighbours()[0]["state"] == "FAILED"


def test_its_capture_gives_what_it_was_fed(driver):
    tap = driver.capture(CaptureSpec(("nat",)))
    driver.captures[0].feed([None, PACKET])
    tap.close()
    tap.close()
    assert list(tap) == [None, Batch([PACKET])]

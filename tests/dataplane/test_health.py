"""The thread that tests servers, against real ones on the loopback device."""

import json
import socket
import threading
from contextlib import contextmanager

import pytest

from dataplane import sysctl
from dataplane.errors import RefusedError
from dataplane.health import Monitor
from dataplane.health_model import Probe, Watch
from dataplane.model import SeState

HOST = "127.0.0.1"
WAIT = 5.0


class Usable:
    """Stands for the driver: what it was told last."""

    def __init__(self):
        self.up = {}
        self.told = threading.Condition()
        self.refuse = None
        self.history = []

    def use(self, up, changed):
        if self.refuse:
            refusal, self.refuse = self.refuse, None
            raise refusal("not now")
        with self.told:
            self.up = up
            self.history.append(up.get("p"))
            self.told.notify_all()

    def wait(self, pool, *servers):
        with self.told:
            assert self.told.wait_for(lambda: self.up.get(pool) == frozenset(servers), WAIT), self.up


@contextmanager
def listening(port=0):
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, port))
        server.listen()
        yield server.getsockname()[1]


def state(*ports, interval=0.05, **settings):
    probe = Probe("fast", "tcp", interval=interval, timeout=0.5, **settings)
    watch = Watch(tuple((HOST, port) for port in ports), ("m",))
    return SeState(probes={"m": probe}, pools={"p": watch})


@pytest.fixture
def usable():
    return Usable()


@pytest.fixture
def monitor(usable, tmp_path):
    made = Monitor(usable.use, tmp_path / "memory")
    yield made
    made.close()


def test_servers_come_and_go(usable, monitor):
    with listening() as stays:
        with listening() as goes:
            monitor.follow(state(stays, goes))
            usable.wait("p", (HOST, stays), (HOST, goes))
        usable.wait("p", (HOST, stays))
        row = next(row for row in monitor.health("p") if row["port"] == goes)
        assert (row["up"], row["reason"], row["code"]) == (False, "fast: connection refused", "CONNECTION_REFUSED")
        pool = monitor.pool_health()[0]
        assert (pool["servers"], pool["up"], [one["port"] for one in pool["down"]]) == (2, 1, [goes])
        with listening(goes):
            usable.wait("p", (HOST, stays), (HOST, goes))


def test_a_refusal_is_tried_again(usable, monitor):
    usable.refuse = RefusedError
    with listening() as port:
        monitor.follow(state(port))
        usable.wait("p", (HOST, port))


def test_an_unexpected_error_is_survived(usable, monitor):
    usable.refuse = ValueError
    with listening() as port:
        monitor.follow(state(port))
        usable.wait("p", (HOST, port))
    usable.wait("p")
    monitor.settle(WAIT)
    assert not monitor._telling


def test_a_verdict_of_an_agent_before_is_used_once(usable, monitor, tmp_path):
    (tmp_path / "old").write_text(json.dumps({"boot": sysctl.boot(), "up": {f"m {HOST} 9": True}}))
    again = Monitor(usable.use, tmp_path / "old")
    try:
        again.follow(state(9, interval=60.0, fall=3))
        usable.wait("p", (HOST, 9))
        again.follow(SeState())
        again.follow(state(9, interval=60.0))
        again.settle(WAIT)
        assert again.health("p")[0]["up"] is False
    finally:
        again.close()


def test_an_engine_that_takes_over_uses_its_servers_until_the_first_verdict(usable, monitor):
    with listening() as port:
        watch = Watch(((HOST, port), (HOST, 9)), ("m",), on_standby=False)
        monitor.active(here=False)
        probe = Probe("m", "tcp", interval=0.2, rise=3, quick=False)
        monitor.follow(SeState(probes={"m": probe}, pools={"p": watch}))
        usable.wait("p", (HOST, port), (HOST, 9))
        usable.history.clear()
        monitor.active(here=True)
        usable.wait("p", (HOST, port))
        assert frozenset() not in usable.history
        assert usable.history[-1] == {(HOST, port)}


def test_to_settle_is_to_have_every_first_verdict(usable, monitor):
    with listening() as port:
        monitor.follow(state(port, interval=60.0))
        monitor.settle(WAIT)
        assert monitor.health("p")[0]["up"]


def test_what_is_no_longer_asked_for_is_no_longer_tested(usable, monitor):
    with listening() as port:
        monitor.follow(state(port))
        usable.wait("p", (HOST, port))
        monitor.follow(SeState())
        assert monitor.health("p") == []
        assert monitor.pool_health() == []


def test_verdicts_outlive_the_agent(usable, monitor, tmp_path):
    with listening() as port:
        monitor.follow(state(port))
        usable.wait("p", (HOST, port))
        for _ in range(100):
            if (tmp_path / "memory").exists() and "true" in (tmp_path / "memory").read_text():
                break
            monitor.settle(0.05)
            threading.Event().wait(0.05)
        again = Usable()
        second = Monitor(again.use, tmp_path / "memory")
        second.follow(state(port, interval=60.0))
        assert second.health("p")[0]["up"]
        second.close()


def test_a_pool_that_the_standby_does_not_test_counts_as_up(usable, monitor):
    watch = Watch(((HOST, 9),), ("m",), on_standby=False)
    monitor.active(here=False)
    monitor.follow(SeState(probes={"m": Probe("m", "tcp", interval=0.05)}, pools={"p": watch}))
    usable.wait("p", (HOST, 9))
    monitor.active(here=True)
    usable.wait("p")


def test_pools_that_share_a_server_come_and_go_one_by_one(usable, monitor):
    with listening() as port, listening() as other:
        probes = {"m": Probe("m", "tcp", interval=0.05, timeout=0.5)}
        one, both = Watch(((HOST, port),), ("m",)), Watch(((HOST, port), (HOST, other)), ("m",))
        kept = SeState(probes=probes, pools={"p": one, "q": both})
        monitor.follow(kept)
        usable.wait("q", (HOST, port), (HOST, other))
        usable.wait("p", (HOST, port))
        monitor.follow(SeState(probes=probes, pools={"p": one, "q": one}))
        usable.wait("q", (HOST, port))
        assert set(monitor._tests) == {("m", HOST, port)}
        assert set(monitor._health) == {("p", (HOST, port)), ("q", (HOST, port))}
        monitor.follow(SeState(probes=probes, pools={"q": one}))
        assert set(monitor._users) == {("m", HOST, port)}
        assert monitor.health("p") == []
        monitor.follow(SeState())
        assert (monitor._tests, monitor._users, monitor._timers, monitor._health, monitor._up) == ({}, {}, {}, {}, {})

"""The founding configuration in, the state of both engines out."""

from dataclasses import replace

from dataplane.failover_model import Gateway, Link, Pair
from dataplane.health_model import Probe, Watch
from dataplane.model import Address, AddressMatch, Listener, NatRule, PortMatch, Route, Service, SeState

SERVICE = Service(
    id=1,
    listeners=(Listener("10.10.10.50", "tcp", 21, 21),),
    picker="round_robin",
    slots=(("10.10.40.101", 21), ("10.10.40.102", 21)),
    keep_port=False,
    snat=False,
)
RULE = NatRule(
    id=1,
    order=("ftp-nat", 1),
    pool=("10.10.10.50",),
    source=AddressMatch(("10.10.40.0/24",)),
    source_port=PortMatch((20,)),
)
ROUTES = {"10.10.20.0/24": Route("10.10.20.0/24", "10.10.10.254")}
HOP = (Gateway("10.10.10.254", 1.0, 10, 15),)


def test_both_engines(ftp):
    pool, monitor = (
        ftp.config.named(*names)["uuid"] for names in (("pool", "ftp-pool"), ("healthmonitor", "System-TCP"))
    )
    service = replace(SERVICE, pools=(pool,), idle=(("tcp", 300),))
    health = {
        "probes": {monitor: Probe("System-TCP", "tcp")},
        "pools": {pool: Watch(SERVICE.slots, (monitor,))},
    }
    addresses = {
        "10.10.10.50": Address("10.10.10.50", "eth1", "vip", 1),
        "10.10.40.1": Address("10.10.40.1", "eth2", "floating", 1),
        "10.10.10.1": Address("10.10.10.1", "eth1", "floating", 1),
    }
    links = (Link("eth1", "10.10.10.11", "10.10.10.12"), Link("eth2", "10.10.40.11", "10.10.40.12"))
    back = tuple(Link(link.interface, link.peer, link.own) for link in links)
    alike = SeState(addresses, ROUTES, {1: service}, {1: RULE}, {"routing": True}, **health)
    assert ftp.states() == {
        "se1": replace(alike, pairs={1: Pair(links, preferred=True, heartbeat=0.08, gateways=HOP)}),
        "se2": replace(alike, pairs={1: Pair(back, preferred=False, heartbeat=0.08, gateways=HOP)}),
    }


def test_second_run_changes_nothing(ftp):
    before = ftp.config
    ftp.load("active-ftp.yaml")
    assert ftp.config is before

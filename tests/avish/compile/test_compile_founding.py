"""The founding configuration in, the state of both engines out."""

from dataclasses import replace

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


def test_both_engines(ftp):
    pool, monitor = (
        ftp.config.named(*names)["uuid"] for names in (("pool", "ftp-pool"), ("healthmonitor", "System-TCP"))
    )
    service = replace(SERVICE, pools=(pool,))
    health = {
        "probes": {monitor: Probe("System-TCP", "tcp")},
        "pools": {pool: Watch(SERVICE.slots, (monitor,), passive=True)},
    }
    assert ftp.states() == {
        "se1": SeState(
            addresses={
                "10.10.10.50": Address("10.10.10.50", "eth1", "vip"),
                "10.10.40.1": Address("10.10.40.1", "eth2", "floating"),
                "10.10.10.1": Address("10.10.10.1", "eth1", "floating"),
            },
            routes=ROUTES,
            services={1: service},
            nat={1: RULE},
            switches={"routing": True},
            **health,
        ),
        "se2": SeState(routes=ROUTES, services={1: service}, nat={1: RULE}, switches={"routing": False}, **health),
    }


def test_second_run_changes_nothing(ftp):
    before = ftp.config
    ftp.load("active-ftp.yaml")
    assert ftp.config is before

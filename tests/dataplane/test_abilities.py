from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane import abilities, nftrun
from dataplane.diff import diff
from dataplane.errors import RefusedError
from dataplane.failover_model import Link, Pair
from dataplane.model import (
    Branch,
    Ftp,
    Limits,
    Listener,
    Match,
    NatRule,
    Rate,
    SecurityRule,
    ServerLimits,
    Service,
    SeState,
)

FTP = Service(
    4, (Listener("10.0.0.1", "tcp", 21, 21),), "source_hash", (), limits=Limits(Rate(3), connections=5), ftp=Ftp((21,))
)
PLAIN = Service(1, (Listener("10.0.0.2", "tcp", 80, 80),), "round_robin", ())
LINK = Link("eth1", "10.0.0.11", "10.0.0.12")
WANTED = SeState(
    services={4: FTP, 1: PLAIN},
    nat={1: NatRule(1, ("p", 1), ("10.0.0.3", "10.0.0.4"))},
    timeouts={"tcp established": 300},
    switches={"auto_gateway": True},
    pairs={1: Pair((LINK,), preferred=True, heartbeat=0.1, vmac="00:00:5e:00:01:01")},
)
PLAN = diff(SeState(), WANTED)


def test_what_a_kernel_lacks_is_found_by_its_own_dry_run(monkeypatch):
    def lacks_the_helper(commands):
        if "helper" in commands:
            raise RefusedError("nftables refused the change: No such file or directory")

    monkeypatch.setattr(nftrun, "dry_run", lacks_the_helper)
    found = abilities.probe()
    assert [name for name, there in found.items() if not there] == ["ftp_helper"]
    (text,) = abilities.refusals(PLAN, found)
    assert text == (
        "service 4: a profile that follows FTP needs ftp helper, which the kernel of this engine has not "
        "(CONFIG_NF_CONNTRACK_FTP, CONFIG_NF_NAT_FTP)"
    )


def test_every_need_is_told():
    nothing = dict.fromkeys(abilities.probe_names(), False)
    text = "\n".join(abilities.refusals(PLAN, nothing))
    assert "flowtable_profile needs flow timeouts" in text
    assert [name for name in abilities.probe_names() if f"needs {name.replace('_', ' ')}," not in text] == []


@pytest.mark.parametrize(
    ("service", "name"),
    [
        (replace(PLAIN, branches=(Branch(Match(), "source_hash", ()),)), "consistent_hash"),
        (replace(PLAIN, branches=(Branch(Match(), "random", (), server_limits=ServerLimits(3)),)), "connection_limits"),
        (replace(PLAIN, policy=(SecurityRule(1, Match(), "limit", Rate(3)),)), "rate_limits"),
        (replace(PLAIN, snat_to=("10.0.0.7", "10.0.0.8")), "consistent_hash"),
    ],
)
def test_the_needs_of_all_parts_of_a_service_are_told(service, name):
    there = dict.fromkeys(abilities.probe_names(), True) | {name: False}
    assert abilities.refusals(diff(SeState(), SeState(services={1: PLAIN})), there) == []
    assert len(abilities.refusals(diff(SeState(), SeState(services={1: service})), there)) == 1


def test_a_kernel_that_has_all_refuses_nothing():
    assert abilities.refusals(PLAN, dict.fromkeys(abilities.probe_names(), True)) == []
    assert abilities.refusals(diff(WANTED, SeState()), {}) == []

from __future__ import annotations

from dataplane import abilities, nftrun
from dataplane.diff import diff
from dataplane.errors import RefusedError
from dataplane.model import Ftp, Limits, Listener, Rate, Service, SeState

FTP = Service(
    4, (Listener("10.0.0.1", "tcp", 21, 21),), "source_hash", (), limits=Limits(Rate(3), connections=5), ftp=Ftp((21,))
)
WANTED = SeState(services={4: FTP}, timeouts={"tcp established": 300})
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
    found = abilities.refusals(PLAN, nothing)
    assert len(found) == 5
    assert any("flowtable_profile needs flow timeouts" in text for text in found)


def test_a_kernel_that_has_all_refuses_nothing():
    assert abilities.refusals(PLAN, dict.fromkeys(abilities.probe_names(), True)) == []
    assert abilities.refusals(diff(WANTED, SeState()), {}) == []

"""``show running_config``: what it prints pastes back and gives the same objects, in every mode of input."""

from __future__ import annotations

import io

import pytest
from controller import Direct, Lab
from language import TREE

from avish.lang.lex import lex
from avish.shell.batch import BatchScreen, lines_of, run_batch
from avish.shell.driver import Driver
from avish.shell.session import Session

RUNBOOK = r"""
configure serviceenginegroup Default-Group ha_mode ha_mode_legacy_active_standby
save
configure pool "a pool @ home" description "say \"hi\" \\ there | # no"
servers ip 10.10.40.101 port 21
description --
first line
  END of nothing
# third "line"
END
save
servers ip 10.10.40.102 port 21 enabled False
save
lb_algorithm lb_algorithm_round_robin
no inline_health_monitor
save
configure healthmonitor "slow one" type health_monitor_http
http_monitor http_request "GET / HTTP/1.0" http_response_code http_2xx
save
authentication username me password geheim
save
save
configure pool bare
conn_pool_properties
save
analytics_policy
save
save
configure healthmonitor plain type health_monitor_http
http_monitor
save
save
configure tenant t2
save
switchto tenant t2
configure pool bare
default_server_port 82
save
configure poolgroup pg members pool_ref bare
save
save
switchto tenant admin
configure vsvip v vip vip_id 1 ip_address 10.10.10.50
save
save
configure vrfcontext global static_routes prefix 10.10.20.0/24 next_hop 10.10.10.254
save
save
configure ipaddrgroup g ranges 10.0.0.1-10.0.0.9 addrs 10.1.1.1 prefixes 10.2.0.0/16
save
configure virtualservice "first service" vsvip_ref v pool_ref "a pool @ home"
application_profile_ref System-L4-Application network_profile_ref System-TCP-Fast-Path
services port 21
save
save
configure natpolicy n
rules index 5 name five enable
match source_ip match_criteria is_in prefixes 10.10.40.0/24 group_refs g
save
save
action type nat_policy_action_type_dynamic_ip_port
nat_info nat_ip 10.10.10.50
save
save
save
save
"""
MODES = ["interactive", "script", "linux_command_line"]
OWN = {"uuid", "_last_modified", "url"}


class Batch:
    """A shell for scripts on a controller."""

    def __init__(self, lab):
        self.client = Direct(lab)

    def run(self, script, **options):
        """Standard output; everything must succeed."""
        status, out, err = self._ran(script, **options)
        assert status == 0, err
        return out

    def refused(self, script, status, **options):
        """What stands beside the output; the status must be this one."""
        found, _, err = self._ran(script, **options)
        assert found == status, err
        return err

    def _ran(self, script, keep_going=False, **options):
        out, err = io.StringIO(), io.StringIO()
        session = Session(TREE, "ctlr1", quiet=True, **options)
        screen = BatchScreen(out, err)
        driver = Driver(session, self.client, screen, screen, as_json=False)
        status = run_batch(driver, lines_of(io.BytesIO(script.encode())), keep_going=keep_going)
        return status, out.getvalue(), err.getvalue()

    def objects(self):
        """All objects by type and name, without what is their own."""
        found = {}
        for kind in TREE.schema.objects():
            self.client.work_in("*")
            body = self.client.call("GET", f"/api/{kind.name}", {"include_name": "", "page_size": "-1"}).body
            for one in [body] if kind.singleton else body["results"]:
                plain = _plain({k: v for k, v in one.items() if k not in OWN})
                found[kind.name, one.get("name", ""), plain.get("tenant_ref", "")] = plain
        return found


def _plain(value):
    """References by name alone: uuids differ between controllers."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.rpartition("#")[2] if isinstance(value, str) and "/api/" in value else value


@pytest.fixture
def make(tmp_path):
    labs = []

    def lab(name, engines=("se1", "se2")):
        labs.append(Lab(tmp_path / name, engines))
        return labs[-1]

    yield lab
    for one in labs:
        one.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more", ["", "terminal --linux_cmd_output multi_line\n", "terminal output brief\n"])
def test_pasted_back_on_another_controller_it_makes_the_same(make, mode, more):
    first, second = Batch(make("a")), Batch(make("b"))
    first.run(RUNBOOK)
    text = first.run(f"terminal mode {mode}\n{more}show running_config\n")
    assert "geheim" not in text
    second.run(
        "configure healthmonitor 'slow one' type health_monitor_http authentication username x password geheim\nsave\nsave\n"
    )
    second.run(text)
    assert second.objects() == first.objects()


@pytest.mark.parametrize("mode", MODES)
def test_pasted_back_on_the_same_controller_it_changes_nothing(make, mode):
    lab = make("a")
    shell = Batch(lab)
    shell.run(RUNBOOK)
    before = lab.controller.store.load().revision
    shell.run(shell.run(f"terminal mode {mode}\nshow running_config\n"))
    assert lab.controller.store.load().revision == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--obj_type pool", ["pool", "pool", "pool"]),
        ("--obj_type Pool,VsVip", ["pool", "pool", "vsvip", "pool"]),
        ("--search five", ["natpolicy"]),
        ("--search 10.10.40.102,geheim", ["pool"]),
        ("--obj_type pool --search nothing-of-it", []),
        ("--tenant t2", ["pool", "poolgroup"]),
    ],
)
def test_its_options_choose(make, options, expected):
    shell = Batch(make("a"))
    shell.run(RUNBOOK)
    text = shell.run(f"terminal mode linux_command_line\nshow running_config {options}\n")
    assert [lex(line).tokens[1].text for line in text.splitlines() if line.startswith("configure")] == expected
    assert shell.run(f"terminal mode linux_command_line\nshow configuration {options}\n") == text


def test_each_tenant_s_objects_stand_where_one_works_in_it(make):
    shell = Batch(make("a"))
    shell.run(RUNBOOK)
    text = shell.run("show running_config --obj_type pool,poolgroup,tenant,serviceengine\n")
    heads = [line for line in text.splitlines() if line.startswith(("configure", "switchto"))]
    assert heads == [
        'configure pool "a pool @ home"',
        "configure pool bare",
        "configure tenant t2",
        "switchto tenant t2",
        "configure pool bare",
        "configure poolgroup pg",
        "switchto tenant admin",
        "configure serviceengine se1",
        "configure serviceengine se2",
    ]
    inside = shell.run("show running_config\n", tenant="t2")
    assert [line for line in inside.splitlines() if line.startswith(("configure", "switchto"))] == heads[4:6]
    everywhere = shell.run("show running_config --obj_type pool\n", tenant="*").splitlines()
    assert (everywhere[0], everywhere[-1]) == ("switchto tenant admin", "switchto tenant *")


def test_a_tenant_that_is_not_there_is_refused(make):
    shell = Batch(make("a"))
    assert "there is no tenant named 'nope'" in shell.refused("show running_config --tenant nope\n", 1)


def test_a_controller_without_the_engines_takes_everything_else(make):
    first, second = Batch(make("a")), Batch(make("b", ("other",)))
    first.run(RUNBOOK)
    first.run("delete healthmonitor 'slow one'\n")
    text = first.run("show running_config\n")
    told = second.refused(text, 1, keep_going=True)
    assert "engines come from the topology" in told
    places = {place for place in first.objects() if "serviceengine" not in place[0]}
    assert places <= set(second.objects())


class TestWhoseItIs:
    """What a fresh controller has by itself is left out, told by content."""

    def test_nothing_but_engines_of_a_fresh_one(self, make):
        printed = Batch(make("fresh")).run("show running_config\n")
        assert [line.split()[:2] for line in printed.splitlines() if line.startswith("configure")] == [
            ["configure", "serviceengine"]
        ] * 2

    def test_one_that_was_written_later_is_no_user_s(self, make):
        """As those are that a later release brings in, or writes again."""
        batch = Batch(make("later"))
        batch.run("configure applicationprofile System-FTP description mine\nsave\n")
        batch.run("configure applicationprofile System-FTP\nno description\nsave\n")
        assert "System-FTP" not in batch.run("show running_config\n")

    def test_one_that_was_changed_is_the_user_s(self, make):
        batch = Batch(make("changed"))
        batch.run("configure applicationprofile System-FTP description mine\nsave\n")
        assert "System-FTP" in batch.run("show running_config --obj_type applicationprofile\n")

    def test_who_may_not_read_all_gets_what_he_may(self, make):
        lab = make("rights")
        access = "access all_tenants role_ref Application-Admin"
        Batch(lab).run(f"configure pool p\nsave\nconfigure user anna username anna {access}\nsave\nsave\n")
        anna = Batch(lab)
        anna.client.user = "anna"
        status, out, err = anna._ran("show running_config\n")
        assert (status, "configure pool p" in out) == (0, True), err
        assert "left out, for you may not read it: " in err
        assert anna._ran("show running_config --obj_type user\n")[0] == 0

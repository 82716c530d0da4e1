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
        out, err = io.StringIO(), io.StringIO()
        session = Session(TREE, "ctlr1", quiet=True, **options)
        screen = BatchScreen(out, err)
        driver = Driver(session, self.client, screen, screen, as_json=False)
        status = run_batch(driver, lines_of(io.BytesIO(script.encode())), keep_going=False)
        assert status == 0, err.getvalue()
        return out.getvalue()

    def objects(self):
        """All objects by type and name, without what is their own."""
        found = {}
        for kind in TREE.schema.objects():
            body = self.client.call("GET", f"/api/{kind.name}", {"include_name": "", "page_size": "-1"}).body
            for one in [body] if kind.singleton else body["results"]:
                found[kind.name, one.get("name", "")] = _plain({k: v for k, v in one.items() if k not in OWN})
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

    def lab(name):
        labs.append(Lab(tmp_path / name))
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
        ("--obj_type pool", ["pool"]),
        ("--obj_type Pool,VsVip", ["pool", "vsvip"]),
        ("--search five", ["natpolicy"]),
        ("--search 10.10.40.102,geheim", ["pool"]),
        ("--obj_type pool --search nothing-of-it", []),
        ("--tenant other", []),
    ],
)
def test_its_options_choose(make, options, expected):
    shell = Batch(make("a"))
    shell.run(RUNBOOK)
    text = shell.run(f"terminal mode linux_command_line\nshow running_config {options}\n")
    assert [lex(line).tokens[1].text for line in text.splitlines() if line.startswith("configure")] == expected
    assert shell.run(f"terminal mode linux_command_line\nshow configuration {options}\n") == text

"""Changes that wait (``configure session``) and what others do meanwhile, with a whole controller behind the shell."""

from __future__ import annotations

import pytest
from controller import Lab
from shelltools import LabWorld, Shell

from avish.shell.effects import Call, Confirm, Reply
from avish.shell.workspace import Step, Workspace


@pytest.fixture
def lab(tmp_path):
    """A controller on engines in memory."""
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def mine(lab):
    """My shell."""
    return Shell(world=LabWorld(lab), quiet=True)


@pytest.fixture
def theirs(lab):
    """Somebody else's."""
    return Shell(world=LabWorld(lab), quiet=True)


def done(shell, *lines):
    """Lines that all have to be taken."""
    said = shell.type(*lines)
    assert not [text for text in said if text.startswith("error")], said
    return said


def get(shell, name, kind="pool"):
    """The object as the controller has it, None for none."""
    query = {"name": name, "include_name": ""}
    results = shell.world.client.call("GET", f"/api/{kind}", query).body["results"]
    return results[0] if results else None


class TestTenants:
    @pytest.fixture
    def shell(self, mine):
        done(mine, "configure tenant blue", "save")
        return mine

    @pytest.mark.parametrize(
        ("opened", "reason"),
        [
            ("configure pool py", "'switchto' is not possible inside a mode"),
            ("configure session", "what is open belongs to tenant admin; save, cancel or exit it first"),
        ],
    )
    def test_none_is_left_with_something_open(self, shell, opened, reason):
        done(shell, opened)
        (told,) = shell.type("switchto tenant blue")
        assert told.startswith(f"error: {reason}")
        assert shell.session.tenant == "admin"

    def test_a_session_goes_on_where_it_began(self, shell):
        done(shell, "configure session", "configure pool pz", "save", "exit", "switchto tenant blue")
        said = done(shell, "configure session", "commit")
        assert said[0] == "Switching to tenant admin, where session default began"
        assert get(shell, "pz")["tenant_ref"].endswith("#admin")

    def test_a_dry_run_that_is_repeated_keeps_each_change_in_its_tenant(self, lab):
        rehearsed = Shell(world=LabWorld(lab), quiet=True, dry_run=True)
        done(Shell(world=LabWorld(lab), quiet=True), "configure tenant blue", "save")
        done(rehearsed, "configure pool a", "save", "switchto tenant blue", "configure pool b", "save")
        rehearsed.session.rehearsal.token = "dry-forgotten"
        done(rehearsed, "configure pool c", "save")
        after = {"after": rehearsed.session.rehearsal.token, "include_name": ""}
        where = {}
        for tenant in ("admin", "blue"):
            rehearsed.world.work_in(tenant)
            found = rehearsed.world.client.call("GET", "/api/pool", after).body["results"]
            where[tenant] = [pool["name"] for pool in found]
        assert where == {"admin": ["a"], "blue": ["b", "c"]}


class TestStepsOfOneObject:
    def test_deleted_and_made_again(self, mine):
        done(mine, "configure pool p", "description old", "default_server_port 21", "save")
        before = get(mine, "p")
        done(mine, "configure session", "delete pool p", "configure pool p", "description new", "save")
        assert [(s.method, s.name) for s in mine.session.workspace.steps] == [("PUT", "p")]
        done(mine, "commit")
        after = get(mine, "p")
        assert (after["uuid"], after["description"], after["default_server_port"]) == (before["uuid"], "new", 80)

    def test_deleted_made_again_and_deleted(self, mine):
        done(mine, "configure pool p", "save", "configure session", "delete pool p", "configure pool p", "save")
        done(mine, "delete pool p", "commit")
        assert get(mine, "p") is None

    def test_renamed_and_changed_under_the_old_name(self, mine):
        done(mine, "configure pool r1", "save", "configure session", "configure pool r1", "name r2", "save")
        done(mine, "configure pool r1", "description d", "save", "commit")
        assert get(mine, "r1") is None
        assert get(mine, "r2")["description"] == "d"

    def test_a_new_one_renamed_leaves_its_name(self, mine):
        done(mine, "configure session", "configure pool a", "save", "configure pool a", "name b", "save")
        done(mine, "configure pool a", "description second", "save", "commit")
        assert get(mine, "b").get("description") is None
        assert get(mine, "a")["description"] == "second"

    def test_two_that_change_names(self, mine):
        done(mine, "configure pool x", "description x", "save", "configure pool y", "description y", "save")
        done(mine, "configure session", "configure pool x", "name z", "save", "configure pool y", "name x", "save")
        done(mine, "configure pool x", "default_server_port 22", "save", "commit")
        found = [(get(mine, name) or {}).get("description") for name in "xyz"]
        assert found == ["y", None, "x"]
        assert get(mine, "x")["default_server_port"] == 22

    def test_a_new_one_of_a_taken_name_is_no_change_of_the_other(self, mine):
        done(mine, "configure pool p", "save", "configure session", "configure pool p", "description d", "save")
        done(mine, "configure pool q", "name p", "save")
        assert "there is a pool of this name already" in mine.type("commit")[-1]

    def test_names_of_what_waits(self, mine):
        done(mine, "configure pool r1", "save", "configure session", "configure pool r1", "name r2", "save")
        assert mine.session.workspace.names("pool") == (["r2"], ["r1"])

    def test_a_singleton_has_no_blank_behind_its_name(self, mine):
        (told,) = done(mine, "configure session", "configure systemconfiguration", "save")
        assert told == "systemconfiguration will be changed by commit (1 changes wait)"


class TestOthersMeanwhile:
    @pytest.mark.parametrize("session", [True, False], ids=["session", "plain"])
    def test_a_change_does_not_go_by_a_deletion(self, mine, theirs, session):
        done(mine, "configure pool p", "save")
        if session:
            done(mine, "configure session", "delete pool p")
            done(theirs, "configure pool p", "description theirs", "save")
            assert "was changed by" in mine.type("commit")[-1]
        else:
            mine.session.interactive = True  # between the question and its answer
            steps = mine.session.run("delete pool p")
            reply = steps.send(None)
            while type(reply).__name__ == "Call":
                reply = steps.send(mine.world.answer(reply))
            done(theirs, "configure pool p", "description theirs", "save")
            call = steps.send(type("Yes", (), {"body": True})())
            assert mine.world.answer(call).status == 412
        assert get(mine, "p")["description"] == "theirs"
        if session:
            done(mine, "commit")
            assert get(mine, "p") is None

    def test_what_both_deleted_is_deleted(self, mine, theirs):
        done(mine, "configure pool p", "save", "configure session", "delete pool p", "configure pool q", "save")
        done(theirs, "delete pool p")
        assert "was deleted by" in mine.type("commit")[-1]
        done(mine, "commit")
        assert get(mine, "q")

    def test_a_singleton_leaves_the_conflict(self, mine, theirs):
        mode = ("configure systemconfiguration", "dns_configuration search_domain a")
        done(mine, "configure session", *mode, "save", "save")
        done(theirs, "configure systemconfiguration", "dns_configuration search_domain b", "save", "save")
        assert "was changed by" in mine.type("commit")[-1]
        done(mine, "commit")

    def test_renamed_by_others(self, mine, theirs):
        done(mine, "configure pool p", "save", "configure session", "configure pool p", "description mine", "save")
        done(theirs, "configure pool p", "name p2", "save")
        assert "was changed by" in mine.type("commit")[-1]
        done(mine, "commit")
        assert get(mine, "p2")["description"] == "mine"

    def test_renamed_by_others_while_it_is_open(self, mine, theirs):
        done(mine, "configure pool p", "save", "configure pool p", "description mine")
        done(theirs, "configure pool p", "name p2", "save")
        assert "was changed by" in mine.type("save")[-1]
        done(mine, "save")
        assert get(mine, "p2")["description"] == "mine"


def test_ten_thousand_steps_are_found_by_their_names():
    workspace = Workspace()
    for number in range(10_000):
        workspace.add(Step("pool", "pool", f"p{number}", "POST", "/api/pool", {"name": f"p{number}"}))
    assert workspace.find("pool", "p9999") is workspace.steps[-1]
    assert workspace.find("pool", "none") is None


class TestCompare:
    LAST = "configure virtualservice v application_profile_ref System-HTTP services port 80"

    @pytest.mark.parametrize("before", [(), ("configure session",)], ids=["plain", "session"])
    def test_what_is_refused_is_shown_with_its_reasons(self, mine, before):
        done(mine, "configure vsvip a vip ip_address 10.10.10.50", "save", "save")
        more = ("exit", "vsvip_ref a", "save") if before else ("exit", "vsvip_ref a")
        done(mine, *before, self.LAST, *more)
        shown, refused = mine.type("compare")
        assert shown.startswith("+ virtualservice v\n")
        assert "  + services[1].port: 80" in shown
        assert refused.startswith("error: ")

    def test_fields_stand_one_by_one(self, mine):
        done(mine, "configure ipaddrgroup g prefixes 10.2.0.0/16 ranges 10.0.0.1-10.0.0.9 addrs 10.1.1.1")
        done(mine, "addrs 10.1.1.2")
        (shown,) = mine.type("compare")
        assert shown.splitlines() == [
            "+ ipaddrgroup g",
            "  + name: g",
            "  + addrs: 10.1.1.1, 10.1.1.2",
            "  + ranges[1].begin: 10.0.0.1",
            "  + ranges[1].end: 10.0.0.9",
            "  + prefixes: 10.2.0.0/16",
        ]


class TestRollback:
    def test_what_is_done_is_what_was_shown(self, lab, theirs):
        mine = Shell(world=LabWorld(lab), quiet=True, interactive=True)
        done(mine, "configure pool a", "save", "configure pool b", "save")
        steps, reply, shown = mine.session.run("rollback 1"), None, []
        while not isinstance(effect := steps.send(reply), Confirm):
            shown.append(effect)
            reply = mine.world.answer(effect) if isinstance(effect, Call) else None
        assert any("- pool b" in getattr(effect, "text", "") for effect in shown)
        done(theirs, "configure pool c", "save")
        call = steps.send(Reply(200, True))
        answered = mine.world.answer(call)
        assert answered.status == 412
        assert "would not do what was shown" in answered.body["error"]
        assert get(mine, "b")
        assert get(mine, "c")


def test_a_commit_that_awaits_its_confirmation_is_a_job(mine):
    done(mine, "configure session", "configure pool p", "save", "commit confirm 5")
    (table,) = mine.type("show jobs")
    assert "commit confirm" in table
    assert "300 s" in table or "299 s" in table


class TestTheWayBack:
    def test_a_commit_that_waits_is_taken_back(self, mine):
        done(mine, "configure session", "configure pool pw", "save", "commit confirm 10")
        assert get(mine, "pw") is not None
        said = done(mine, "commit cancel")
        assert said[-1].endswith("again")
        assert " is taken back: the configuration is that of commit " in said[-1]
        assert get(mine, "pw") is None
        assert mine.type("commit cancel") == ["error: no commit awaits its confirmation"]

    def test_too_far_back_and_nowhere(self, mine):
        revision = mine.world.revision
        assert mine.type("rollback 99999") == [
            f"error: 99999 commits back there is none: the first one was {revision - 1} commits ago (show commits)"
        ]
        mine.said = [True, True]
        assert mine.type("rollback 0")[-1] == f"nothing to roll back: commit {revision} is what runs"
        assert mine.world.revision == revision

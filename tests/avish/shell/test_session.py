"""The session: lines in, effects out; the calls are answered by hand."""

from __future__ import annotations

import pytest
from shelltools import TREE, Shell, ip

from avish.errors import ApplyError, BugError, ConflictError, ParseError, UnavailableError, ValidationError
from avish.shell.effects import Call, Document, Print, Reply, Stream
from avish.shell.rehearsal import summary
from avish.shell.session import Session, refusal

POOL = {"uuid": "pool-1", "name": "p", "default_server_port": 80, "_last_modified": "17"}
SE = {"uuid": "debugserviceengine-1", "name": "se1"}


class TestPrompt:
    @pytest.mark.parametrize(
        ("host", "shown"),
        [("ctlr1", "ctlr1"), ("ctlr1.example.com", "ctlr1"), ("10.10.24.52", "10-10-24-52"), ("", "")],
    )
    def test_the_host(self, host, shown):
        assert Session(TREE, host).prompt == f"[admin:{shown}]: > "

    def test_the_path_of_the_modes(self):
        shell = Shell()
        shell.type("configure natpolicy n")
        assert shell.session.prompt == "[admin:ctlr1]: natpolicy> "
        shell.type("rules", "match")
        assert shell.session.prompt == "[admin:ctlr1]: natpolicy:rules:match> "
        shell.type("cancel", "cancel", "cancel")
        assert shell.session.prompt == "[admin:ctlr1]: > "

    def test_count_counts_entries(self):
        shell = Shell({"serviceengine": {"se1": {"name": "se1", "uuid": "se-1"}}})
        rows = {"se_ref": "se1:se-1", "proc_id": "C0_L4", "natflow": [{"age": "1 sec"}, {"age": "2 sec"}]}
        shell.world.answers["GET", "/api/serviceengine/se-1/nat-flows"] = Reply(200, rows)
        assert shell.type("show serviceengine se1 nat-flows | count") == ["2"]

    def test_an_empty_answer_says_so_on_a_terminal(self):
        shell = Shell({"serviceengine": {"se1": {"name": "se1", "uuid": "se-1"}}}, interactive=True)
        empty = {"se_ref": "se1:se-1", "proc_id": "C0_L4", "natflow": []}
        shell.world.answers["GET", "/api/serviceengine/se-1/nat-flows"] = Reply(200, empty)
        assert shell.type("show serviceengine se1 nat-flows")[-1] == "no entries"
        assert shell.type("show serviceengine se1 nat-flows | count") == ["0"]

    @pytest.mark.parametrize(("reached", "printed"), [(True, 1), (False, 2)])
    def test_an_address_that_is_not_reached_is_an_error(self, reached, printed):
        shell = Shell({"serviceengine": {"se1": {"name": "se1", "uuid": "se-1"}}})
        answer = Reply(200, {"line": ["tcp ..."], "reached": reached})
        shell.world.answers["POST", "/api/serviceengine/se-1/probe"] = answer
        told = ["tcp ...", "error: port 99 of 10.0.0.1 was not reached from se1"]
        assert shell.type("test serviceengine se1 tcp 10.0.0.1 99") == told[:printed]

    def test_a_noun_that_is_not_here_for_a_reason_is_answered_and_not_marked(self):
        shell = Shell()
        assert shell.type("show license") == ["error: Nothing is licensed here: every function may be used"]
        with pytest.raises(ParseError) as refused:
            shell.effects("show license")
        assert refused.value.exit_status == 1

    def test_no_flags_takes_all_of_them(self):
        flags = [{"flag": "DEBUG_PCAP_NAT"}, {"flag": "DEBUG_PCAP_HM"}]
        shell = Shell({"debugserviceengine": {"se1": {**SE, "flags": flags}}})
        assert shell.type("debug serviceengine se1", "no flags")[-1] == "Removed all flags"
        assert shell.body["flags"] == []
        assert shell.type("no flags")[-1].endswith("there is none to remove")
        assert "which one" in Shell().type("configure pool p", "no servers")[-1]

    def test_debug_objects_have_their_own_word(self):
        shell = Shell({"debugserviceengine": {"se1": SE}})
        shell.type("debug serviceengine se1")
        assert shell.session.prompt == "[admin:ctlr1]: debugserviceengine> "

    def test_the_tenant(self):
        assert Session(TREE, "c", tenant="blue").prompt == "[blue:c]: > "


class TestSaving:
    def test_a_new_object_is_posted(self):
        shell = Shell()
        assert shell.type("configure pool p", "default_server_port 21") == []
        printed = shell.type("save")
        assert [(c.method, c.path, c.body) for c in shell.world.writes] == [
            ("POST", "/api/pool", {"name": "p", "default_server_port": 21})
        ]
        assert "| default_server_port | 21" in printed[0]
        assert shell.session.mode == ""

    def test_an_existing_one_is_shown_and_put_with_what_was_read(self):
        shell = Shell({"pool": {"p": POOL}})
        (table,) = shell.type("configure pool p")
        assert table.startswith("Updating an existing object. Currently, the object is:\n+---")
        shell.type("default_server_port 21", "exit")
        (call,) = shell.world.writes
        assert (call.method, call.path) == ("PUT", "/api/pool/pool-1")
        assert call.body == {**POOL, "default_server_port": 21}

    def test_nothing_is_written_before_the_outermost_save(self):
        shell = Shell()
        shell.type("configure pool p", "servers ip 10.1.1.1 port 80", "save", "servers ip 10.1.1.2", "exit")
        assert shell.world.writes == []
        shell.type("save")
        assert len(shell.world.writes) == 1

    def test_cancel_at_the_outermost_level_drops_everything(self):
        shell = Shell()
        assert shell.type("configure pool p", "enabled 0", "cancel", "show pool p") == [
            "error: there is no pool named 'p'"
        ]
        assert shell.world.writes == []

    def test_brief_prints_no_tables(self):
        shell = Shell({"pool": {"p": POOL}}, quiet=True)
        assert shell.type("configure pool p", "save") == []

    def test_what_is_required_is_checked_before_the_call(self):
        shell = Shell()
        assert shell.type("configure healthmonitor h", "save")[0].startswith(
            "error: healthmonitor h: type is missing (type "
        )
        assert shell.session.mode == "healthmonitor"
        assert shell.world.writes == []

    def test_all_that_is_missing_is_told_at_once(self):
        shell = Shell()
        (text,) = shell.type("configure networkservice n", "save")
        assert text.count("is missing") == 2

    def test_a_refusal_leaves_the_object_open(self):
        issues = [
            {"path": "pool p", "text": "no", "severity": "error"},
            {"path": "x", "text": "hm", "severity": "warning"},
        ]
        answers = {("POST", "/api/pool"): Reply(400, {"error": "no", "issues": issues})}
        shell = Shell(answers=answers)
        assert shell.type("configure pool p", "save") == ["error: pool p: no"]
        assert shell.session.mode == "pool"
        del shell.world.answers["POST", "/api/pool"]
        shell.type("save")
        assert shell.session.mode == ""

    def test_warnings_stand_beside_the_answer(self):
        answers = {("POST", "/api/pool"): Reply(201, {"name": "p"}, ("carried as round robin",))}
        assert Shell(answers=answers).type("configure pool p", "save")[1:] == ["warning: carried as round robin"]

    def test_one_too_many_is_a_warning(self):
        assert Shell().type("save", "cancel") == [
            "warning: nothing to save: no object is being edited",
            "warning: nothing to cancel: no object is being edited",
        ]

    def test_a_whole_object_on_one_line_still_needs_its_save(self):
        shell = Shell({"virtualservice": {"v": {"uuid": "virtualservice-1", "name": "v", "enabled": True}}}, quiet=True)
        assert shell.type("configure virtualservice v no enabled") == [
            "Overwriting the previously entered value for enabled"
        ]
        assert shell.world.writes == []
        shell.type("save")
        assert shell.world.writes[0].body["enabled"] is False

    def test_a_capture_that_the_save_started_is_shown(self):
        running = {**SE, "capture_status": {"state": "running"}}
        answers = {("PUT", f"/api/debugserviceengine/{SE['uuid']}"): Reply(200, running)}
        shell = Shell({"debugserviceengine": {"se1": SE}}, answers=answers, quiet=True)
        assert shell.type("debug serviceengine se1", "flags flag debug_pcap_nat", "save") == [
            "New object being created",
            "stream /api/debugserviceengine/debugserviceengine-1/capture",
        ]

    def test_no_capture_no_stream(self):
        flagged = {**SE, "flags": [{"flag": "DEBUG_PCAP_NAT"}]}
        shell = Shell({"debugserviceengine": {"se1": flagged}}, quiet=True)
        assert shell.type("debug serviceengine se1", "no flags flag debug_pcap_nat", "save") == [
            "Removed flags with flag=DEBUG_PCAP_NAT"
        ]


class TestLeaving:
    def test_exit_at_the_top(self):
        assert Shell().type("exit") == ["exit"]

    def test_exit_in_a_mode_saves(self):
        shell = Shell(quiet=True)
        assert shell.type("configure pool p", "servers ip 10.1.1.1", "exit", "exit") == ["New object being created"]
        assert shell.world.writes[0].body["servers"] == [{"ip": ip("10.1.1.1")}]

    def test_cancel_in_a_mode_drops_that_level_only(self):
        shell = Shell(quiet=True)
        shell.type("configure pool p", "servers ip 10.1.1.1", "cancel", "enabled", "save")
        assert shell.world.writes[0].body == {"name": "p", "enabled": True}


class TestWhere:
    def test_at_the_top(self):
        assert Shell().type("where") == ["Tenant: admin"]

    def test_only_the_current_level(self):
        shell = Shell({"debugvirtualservice": {"v": {"uuid": "debugvirtualservice-1", "name": "v"}}}, quiet=True)
        shell.type("debug virtualservice v", "debug_ip addrs 10.1.1.1", "addrs 10.1.1.2", "addrs 10.1.1.3")
        assert shell.type("where") == [
            """\
Tenant: admin
+----------+----------+
| Field    | Value    |
+----------+----------+
| addrs[1] | 10.1.1.1 |
| addrs[2] | 10.1.1.2 |
| addrs[3] | 10.1.1.3 |
+----------+----------+"""
        ]

    def test_references_by_name_before_and_after_the_save(self):
        shell = Shell()
        shell.type("configure virtualservice v", "pool_ref p")
        assert "| pool_ref | p     |" in shell.type("where")[0]


class TestShowing:
    def test_one_object(self):
        shell = Shell({"pool": {"p": POOL}})
        document, table = shell.effects("show pool p")
        assert document == Document(POOL)
        assert table == Print(table.text, (), page=True)
        assert "| default_server_port | 80     |" in table.text
        assert "_last_modified" not in table.text

    def test_a_list_is_asked_for_with_what_its_columns_need(self):
        shell = Shell()
        shell.type("show virtualservice")
        assert shell.world.calls[-1] == Call(
            "GET",
            "/api/virtualservice",
            {"include_name": "", "join_subresources": "runtime", "page_size": "-1", "joins": "vsvip_ref"},
        )

    def test_a_command(self):
        shell = Shell(
            {"serviceengine": {"se1": {"uuid": "serviceengine-1", "name": "se1"}}},
            {
                ("GET", "/api/serviceengine/serviceengine-1/vshash"): Reply(
                    200, {"se_ref": "se1", "vshashone": []}, ("old",)
                )
            },
        )
        assert shell.type("show serviceengine se1 vshash") == [
            "+--------+-------+\n| Field  | Value |\n+--------+-------+\n| se_ref | se1   |\n+--------+-------+",
            "warning: old",
        ]

    def test_pipes_go_with_the_text(self):
        shell = Shell({"pool": {"p": POOL}})
        assert shell.effects("show pool p | grep -i NAME | grep p")[1].pipes == (("grep", "-i", "NAME"), ("grep", "p"))

    def test_json_on_the_line(self):
        shell = Shell({"pool": {"p": POOL}})
        assert shell.effects("show pool p --json") == [Document(POOL, form="json")]

    def test_a_secret_that_was_typed_is_not_shown(self):
        shell = Shell({})
        typed = ("configure vrfcontext g", "bgp_profile ibgp local_as 1", "peers peer_ip 10.0.0.1 md5_secret abcd")
        assert "abcd" not in repr(shell.type(*typed, "where", "save", "where", "save", "where"))

    def test_do_leaves_the_mode_alone(self):
        shell = Shell({"pool": {"p": POOL}})
        shell.type("configure pool q", "servers ip 10.1.1.1")
        assert "| p    |" in shell.type("do show pool")[0]
        assert shell.session.mode == "pool:servers"

    def test_what_is_not_there_names_the_nearest(self):
        shell = Shell({"pool": {"web": {"uuid": "pool-1", "name": "web"}}})
        assert shell.type("show pool wbe") == ["error: there is no pool named 'wbe'; did you mean 'web'?"]
        assert shell.type("show pool other") == ["error: there is no pool named 'other'"]


class TestDeleting:
    def test_by_name(self):
        shell = Shell({"pool": {"p": POOL}})
        assert shell.type("delete pool p") == ["Successfully deleted p."]
        assert shell.world.writes == [Call("DELETE", "/api/pool/pool-1", body={"_last_modified": "17"})]

    def test_what_is_not_there(self):
        assert Shell().type("delete pool p") == ["error: there is no pool named 'p'"]

    def test_a_refusal(self):
        text = "Cannot delete, object is referred by: ['VirtualService v']"
        shell = Shell({"pool": {"p": POOL}}, {("DELETE", "/api/pool/pool-1"): Reply(403, {"error": text})})
        assert shell.type("delete pool p") == [f"error: {text}"]


class TestErrors:
    def test_a_line_that_is_not_understood_does_nothing(self):
        shell = Shell()
        shell.type("configure pool p", "enabled 0")
        with pytest.raises(ParseError):
            shell.effects("description x default_server_port 99999")
        assert shell.body == {"name": "p", "enabled": False}

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, ValidationError),
            (401, ValidationError),
            (403, ValidationError),
            (404, ValidationError),
            (409, ValidationError),
            (412, ConflictError),
            (422, ApplyError),
            (500, BugError),
            (503, UnavailableError),
        ],
    )
    def test_the_status_of_an_answer_gives_the_kind(self, status, kind):
        error = refusal(Reply(status, {"error": "because"}))
        assert type(error) is kind
        assert str(error) == "because"
        assert kind is not ValidationError or error.http_status == status

    @pytest.mark.parametrize("body", [None, "text", [], {}])
    def test_an_answer_without_a_reason_is_still_told(self, body):
        assert str(refusal(Reply(400, body)))

    def test_every_issue_but_warnings(self):
        issues = [
            {"path": "a", "text": "x"},
            {"path": "", "text": "y"},
            {"path": "b", "text": "z", "severity": "warning"},
        ]
        assert str(refusal(Reply(400, {"error": "e", "issues": issues}))) == "a: x\ny"


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "\t# another", "\r\n"])
def test_lines_that_mean_nothing(line):
    shell = Shell()
    assert shell.effects(line) == []
    assert shell.world.calls == []


def test_abbreviations_on_a_terminal():
    shell = Shell(interactive=True, quiet=True)
    assert shell.type("conf pool p", "desc x", "sav") == []
    assert shell.world.writes[0].body == {"name": "p", "description": "x"}


class TestDryRun:
    @pytest.fixture
    def shell(self):
        shell = Shell({"pool": {"live": {"uuid": "pool-1", "name": "live"}}}, dry_run=True, quiet=True)
        shell.world.kernel = {"se1": ["add address 10.0.0.1", "load the rules"]}
        return shell

    @staticmethod
    def sent(shell):
        """What each transaction held: (candidate it builds on, method, path, name)."""
        assert all(c.path == "/api/transaction" and c.query["dryrun"] for c in shell.world.writes)
        return [
            (c.query.get("after", ""), r["method"], r["path"], r.get("body", {}).get("name"))
            for c in shell.world.writes
            for r in c.body["requests"]
        ]

    def test_it_says_what_each_save_would_do(self, shell):
        assert shell.type("configure pool p", "save") == [
            "would create pool p\n  se1: add address 10.0.0.1\n  se1: load the rules"
        ]
        assert shell.world.objects == {"pool": {"live": {"uuid": "pool-1", "name": "live"}}}

    def test_later_lines_see_earlier_ones(self, shell):
        shell.type("configure pool p", "default_server_port 21", "save", "configure pool p")
        assert shell.body["default_server_port"] == 21
        assert "| default_server_port | 21" in shell.type("cancel", "show pool p")[0]

    def test_each_step_builds_on_those_before(self, shell):
        shell.type("configure pool p", "save", "configure pool live", "save", "delete pool live")
        assert self.sent(shell) == [
            ("", "POST", "/api/pool", "p"), ("token1", "PUT", "/api/pool/pool-1", "live"),
            ("token2", "DELETE", "/api/pool/pool-1", None),
        ]  # fmt: skip
        assert shell.type("show pool live") == ["error: there is no pool named 'live'"]

    def test_a_controller_that_has_forgotten_gets_everything_again(self, shell):
        shell.type("configure pool p", "save")
        shell.world.candidates.clear()
        shell.type("configure vsvip v", "save")
        assert self.sent(shell)[-2:] == [("", "POST", "/api/pool", "p"), ("token1", "POST", "/api/vsvip", "v")]

    def test_warnings_are_told_once(self, shell):
        shell.world.answers["POST", "/api/transaction"] = Reply(200, {"token": "t"}, ("kept, not done",))
        shell.type("configure pool p")
        assert shell.type("save") == ["would create pool p", "warning: kept, not done"]

    def test_a_refused_step_is_not_kept(self, shell):
        shell.world.answers["POST", "/api/transaction"] = Reply(400, {"error": "no"})
        assert shell.type("configure pool p", "save") == ["error: no"]
        del shell.world.answers["POST", "/api/transaction"]
        shell.type("cancel", "configure vsvip v", "save")
        assert self.sent(shell)[-1:] == [("", "POST", "/api/vsvip", "v")]

    def test_the_sum_at_the_end(self, shell):
        found = {"objects": [{"action": "create", "type": "pool", "name": "p"}], "kernel": {"se1": ["load the rules"]}}
        shell.world.answers["GET", "/api/compare"] = Reply(200, found)
        shell.type("configure pool p", "save")
        (printed,) = shell.carry_out(summary(shell.session))
        assert printed.text == ("In all (1 writes, none of them done):\n+ pool p\nkernel of se1:\n  load the rules")

    def test_no_capture_is_watched(self):
        shell = Shell({"debugserviceengine": {"se1": SE}}, dry_run=True)
        shell.type("debug serviceengine se1", "flags flag debug_pcap_nat")
        assert not any(isinstance(effect, Stream) for effect in shell.effects("save"))


class TestNamesWithBlanks:
    def test_an_existing_name_needs_no_quotes(self):
        shell = Shell({"serviceenginegroup": {"SE group 1": {"uuid": "g-1", "name": "SE group 1"}}}, quiet=True)
        shell.type("configure serviceenginegroup SE group 1 max_se 2")
        assert shell.session.candidate.name == "SE group 1"
        assert shell.session.candidate.body["max_se"] == 2
        shell.type("cancel")
        assert "SE group 1" in shell.type("show serviceenginegroup SE group 1 | grep name")[0]

    def test_a_new_one_does(self):
        shell = Shell({"pool": {"p": POOL}})
        assert shell.type("configure pool p nonsense 5")[0].startswith("error: unknown field 'nonsense'")


class TestValuesFromFiles:
    @pytest.fixture
    def shell(self):
        shell = Shell(quiet=True)
        shell.files = {"/tmp/banner": "first\nsecond\n"}
        shell.type("configure pool p")
        return shell

    def test_a_text_is_read(self, shell):
        assert shell.type("description file:/tmp/banner") == []
        assert shell.top["description"] == "first\nsecond"

    def test_a_secret_is_read(self):
        shell = Shell(quiet=True)
        shell.files = {"~/key": "geheim\n"}
        shell.type("configure healthmonitor h authentication username u password file:~/key")
        assert shell.top["password"] == "geheim"

    def test_what_is_no_path_is_the_value(self, shell):
        assert shell.type("description file:banner") == [
            "warning: description is this text itself; a file is given by its path (file:./banner)"
        ]
        assert shell.top["description"] == "file:banner"

    def test_a_block_is_taken_as_it_is(self, shell):
        shell.effects("description --", "file:/tmp/banner")
        assert shell.top["description"] == "file:/tmp/banner"

    def test_a_file_that_is_not_there(self, shell):
        assert shell.type("description file:/tmp/nothing") == ["error: /tmp/nothing cannot be read"]
        assert "description" not in shell.top

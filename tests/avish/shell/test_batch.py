"""The front for scripts: line numbers, exit status, what is not saved; and the program's own options."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from shelltools import TREE, World

from avish.errors import ParseError
from avish.lang.lex import LINE_LIMIT
from avish.shell.batch import BatchScreen, lines_of, run_batch
from avish.shell.driver import Driver, Streams
from avish.shell.effects import Reply
from avish.shell.main import main
from avish.shell.session import Session

RUNBOOK = Path(__file__).parents[3] / "fixtures" / "runbooks" / "active-ftp.avi"


class Client:
    """A client whose controller is a World."""

    home = Path("/nowhere")

    def __init__(self, world):
        self.world = world

    def twin(self):
        return self

    def work_in(self, tenant):
        self.tenant = tenant

    def call(self, method, path, query=None, body=None, etag="", comment=""):
        reply = self.world.answer(SimpleNamespace(method=method, path=path, query=query or {}, body=body))
        return SimpleNamespace(status=reply.status, body=reply.body, warnings=reply.warnings, etag="")


class Ran(SimpleNamespace):
    """Status, output, what stood beside it, and the world behind."""


def run(script, *, objects=None, answers=None, keep_going=False, as_json=False, **options):
    world, out, err = World(objects, answers), io.StringIO(), io.StringIO()
    client, screen = Client(world), BatchScreen(out, err)
    driver = Driver(Session(TREE, "ctlr1", **options), client, screen, Streams(client, screen.event), as_json=as_json)
    raw = script if isinstance(script, bytes) else script.encode()
    status = run_batch(driver, lines_of(io.BytesIO(raw)), keep_going=keep_going)
    return Ran(status=status, out=out.getvalue(), err=err.getvalue(), world=world)


class TestRunning:
    def test_a_script_that_works(self):
        ran = run("configure pool p\n  servers ip 10.1.1.1\n  save\n\n# done\nsave\nshow pool\n")
        assert (ran.status, ran.err) == (0, "")
        assert "New object being created" in ran.out
        assert ran.world.objects["pool"]["p"]["servers"]

    def test_the_founding_runbook_brief_and_twice(self):
        script = RUNBOOK.read_text()
        first = run(script, quiet=True)
        assert (first.status, first.err) == (0, "")
        saved = {kind: dict(objects) for kind, objects in first.world.objects.items()}
        again = run(script, objects=first.world.objects, quiet=True)
        assert (again.status, again.err) == (0, "")
        assert again.world.objects == saved
        assert {call.method for call in again.world.writes} == {"PUT"}

    def test_no_newline_at_the_end(self):
        assert run("show pool").status == 0

    def test_windows_line_ends(self):
        assert run("configure pool p\r\nsave\r\n").status == 0

    def test_nothing_at_all(self):
        assert run("").status == 0

    def test_exit_ends_it(self):
        ran = run("exit\nnonsense\n")
        assert (ran.status, ran.err) == (0, "")

    def test_json_is_all_that_reaches_the_output(self):
        script = "configure pool p\nservers ip 10.1.1.1\nsave\nsave\nsave\nshow pool p\n"
        ran = run(script, as_json=True)
        assert json.loads(ran.out)["name"] == "p"
        assert ran.err == "warning: nothing to save: no object is being edited\n"

    def test_json_of_each_show(self):
        ran = run("show pool\nshow vsvip\n", as_json=True)
        decoder, text, found = json.JSONDecoder(), ran.out, []
        while text.strip():
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].lstrip()
        assert found == [{"count": 0, "results": []}] * 2

    def test_grep(self):
        pool = {"uuid": "pool-1", "name": "p", "default_server_port": 80}
        assert run("show pool p | grep port", objects={"pool": {"p": pool}}).out == "| default_server_port | 80     |\n"

    def test_rows_of_a_list_are_counted_lines_of_anything_else(self):
        pools = {name: {"uuid": f"pool-{name}", "name": name} for name in "abc"}
        script = "show pool | count\nshow pool a | count\nshow pool | grep '[ab] ' | count\nshow pool | json | count\n"
        assert run(script, objects={"pool": pools}).out.split() == ["3", "6", "2", "17"]
        assert run("show pool | count").out == "0\n"

    def test_grep_that_finds_nothing_prints_nothing(self):
        assert run("show pool | grep nothing").out == ""


class TestErrors:
    def test_the_first_one_ends_it_with_line_and_mark(self):
        ran = run("configure pool p\n\n  default_server_prt 21\nsave\n")
        assert ran.status == 2
        assert ran.err.splitlines()[:3] == [
            "line 3: unknown field 'default_server_prt'",
            "    default_server_prt 21",
            "    ^^^^^^^^^^^^^^^^^^",
        ]
        assert ran.err.splitlines()[3].startswith("  expected: cancel, exit, save, where, ")
        assert ran.err.splitlines()[4:] == ["  did you mean: default_server_port", "nothing of pool p was saved"]
        assert ran.world.writes == []

    def test_keep_going_goes_on_and_keeps_the_first_status(self):
        answers = {("POST", "/api/pool"): Reply(400, {"error": "refused"})}
        ran = run("configure pool p\nsave\ncancel\nnonsense\nshow pool\n", answers=answers, keep_going=True)
        assert ran.status == 1
        assert ran.err.splitlines()[0] == "line 2: refused"
        assert any(line.startswith("line 4: unknown word 'nonsense'") for line in ran.err.splitlines())
        assert "| Name | UUID |" in ran.out

    def test_keep_going_closes_the_mode_that_is_not_saved(self):
        answers = {("POST", "/api/vsvip"): Reply(400, {"error": "refused"})}
        script = "configure vsvip v\nsave\nconfigure pool p\nservers port 5\nsave\ndefault_server_port 99\nsave\nshow pool p\n"
        ran = run(script, answers=answers, keep_going=True)
        assert ran.err.splitlines() == [
            "line 2: refused",
            "line 2: nothing of vsvip v was saved; going on behind it",
            "line 5: pool p servers[1]: ip is missing (ip <x.x.x.x>)",
            "line 5: nothing of pool:servers was taken; going on behind it",
        ]
        assert ran.world.objects["pool"]["p"] == {"uuid": "pool-4", "name": "p", "default_server_port": 99}

    def test_values_of_a_document_are_marked_at_their_lines_of_the_script(self):
        document = ["---", "name: p", "default_server_port: 1e400", "enabled: 'maybe'", "servers: foo", "sserver: 1"]
        ran = run("\n".join(["", "configure pool p << END", *document, "END"]))
        assert ran.status == 2
        assert ran.err.splitlines() == [
            "line 5: default_server_port: '1e400' is not a whole number (1-65535)",
            "  default_server_port: 1e400",
            "                       ^^^^^",
            "line 6: enabled: 'maybe' is neither True nor False",
            "  enabled: 'maybe'",
            "           ^^^^^^^",
            "  expected: True, False",
            "line 7: servers: a list is expected ('- ' before each entry, or [.., ..])",
            "  servers: foo",
            "           ^^^",
            "line 8: there is no field 'sserver'",
            "  sserver: 1",
            "  ^^^^^^^",
            "  did you mean: servers",
        ]

    def test_a_document_that_three_dashes_begin(self):
        ran = run("configure pool p << END\n# mine\n---\nname: p\ndefault_server_port: 7\nEND\n")
        assert (ran.status, ran.err) == (0, "")
        assert ran.world.objects["pool"]["p"]["default_server_port"] == 7

    @pytest.mark.parametrize("bad", ["--ffo 3", "--enabled 'half", "--description --"])
    def test_paths_are_counted_in_the_script(self, bad):
        ran = run(f"\nconfigure pool p << STOP\n--enabled\n{bad}\nSTOP\n")
        assert ran.status == 2
        assert ran.err.startswith("line 4: ")
        assert "line" not in ran.err.splitlines()[0][8:].replace("lines", "")

    def test_no_secret_of_a_document_stands_on_a_marked_line(self):
        ran = run("configure healthmonitor h << END\nauthentication: {password: geheim, username: [a]}\nEND\n")
        assert ran.status == 2
        assert "geheim" not in ran.err
        assert "******" in ran.err

    @pytest.mark.parametrize(
        ("reply", "status"),
        [
            (Reply(400, {"error": "x"}), 1),
            (Reply(403, {"error": "x"}), 1),
            (Reply(409, {"error": "x"}), 1),
            (Reply(412, {"error": "x"}), 1),
            (Reply(422, {"error": "x"}), 1),
            (Reply(503, {"error": "x"}), 69),
        ],
    )
    def test_the_exit_status_says_what_kind(self, reply, status):
        assert run("configure pool p\nsave", answers={("POST", "/api/pool"): reply}).status == status

    def test_every_issue_has_the_line(self):
        ran = run("configure networkservice n\nsave\n")
        assert ran.status == 1
        assert [line.partition(":")[0] for line in ran.err.splitlines()[:2]] == ["line 2", "line 2"]

    @pytest.mark.parametrize(
        ("script", "saves", "mode"),
        [
            ("configure pool p\nenabled", "1 more save needed", "pool"),
            ("configure pool p\nservers ip 10.1.1.1\n", "2 more saves needed", "pool:servers"),
            (
                "configure natpolicy n\nrules index 1\nmatch\nsource_ip\n",
                "4 more saves needed",
                "natpolicy:rules:match:source_ip",
            ),
        ],
    )
    def test_an_end_inside_a_mode(self, script, saves, mode):
        ran = run(script)
        number = len(script.rstrip("\n").split("\n"))
        assert ran.status == 2
        assert f"line {number}: the input ends inside {mode}: nothing of " in ran.err
        assert saves in ran.err
        assert ran.world.writes == []

    def test_binary_input(self):
        ran = run(b"show pool\n\x89PNG\r\n\x1a\n")
        assert ran.status == 2
        assert ran.err == "line 2: this is no text: byte 0x89 at column 1 is not UTF-8\n"

    def test_control_characters(self):
        ran = run("configure pool \x1b[31mp\n")
        assert ran.status == 2
        assert "\x1b" not in ran.err
        assert "line 1: a control character (code 27) cannot be part of a line" in ran.err
        assert ran.world.calls == []

    @pytest.mark.parametrize("length", [LINE_LIMIT + 1, 1_000_000])
    def test_a_line_that_is_too_long(self, length):
        ran = run("description " + "x" * length + "\nshow pool\n", keep_going=True)
        assert ran.status == 2
        assert ran.err.startswith("line 1: the line ")
        assert len(ran.err) < 400
        assert "| Name | UUID |" in ran.out

    def test_a_long_word_is_cut_in_the_error(self):
        ran = run("x" * 60_000)
        assert ran.status == 2
        assert len(ran.err) < 600

    def test_an_open_quote(self):
        ran = run('configure pool p\ndescription "half\nsave\n')
        assert ran.status == 2
        assert ran.err.startswith('line 2: the quote " is never closed\n  description "half\n              ^^^^^\n')

    def test_names_with_blanks_quotes_and_other_letters(self):
        ran = run(
            "configure pool 'a b'\nsave\nconfigure pool 'a\"b'\nconfigure pool grün\nconfigure pool ''\n",
            keep_going=True,
        )
        assert list(ran.world.objects["pool"]) == ["a b"]
        assert ran.err.count("a name cannot") == 3


class TestLines:
    def test_numbers_and_line_ends(self):
        assert list(lines_of(io.BytesIO(b"a\n\nb\r\nc"))) == [(1, "a"), (2, ""), (3, "b"), (4, "c")]

    def test_a_line_of_megabytes_is_skipped_whole(self):
        found = list(lines_of(io.BytesIO(b"x" * 3_000_000 + b"\nshow pool\n")))
        assert isinstance(found[0][1], ParseError)
        assert found[1:] == [(2, "show pool")]


class TestProgram:
    """The options of ``avish`` that need no controller, and what happens without one."""

    @staticmethod
    def feed(monkeypatch, data):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))

    def test_parse_only_prints_one_document_a_line(self, monkeypatch, capsys):
        self.feed(monkeypatch, "configure pool p\nservers ip 10.1.1.1\nservers ip x\n\xff\n".encode("latin-1"))
        assert main(["--parse-only"]) == 2
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert found[0] == {"line": 1, "text": "configure pool p", "ok": True, "mode": "pool"}
        assert found[1]["mode"] == "pool:servers"
        assert found[2] == {
            "line": 3, "text": "servers ip x", "ok": False, "error": "ip: 'x' is not an IP address",
            "expected": ["IP4 address x.x.x.x or IP6 address x:x::x"],
        }  # fmt: skip
        assert (found[3]["ok"], found[3]["text"]) == (False, "")

    def test_parse_only_of_a_file(self, capsys):
        assert main(["--parse-only", "--file", str(RUNBOOK)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == len(RUNBOOK.read_text().splitlines())

    def test_parse_only_of_commands(self, capsys):
        assert main(["--parse-only", "-c", "configure pool p", "-c", "save"]) == 0
        assert [json.loads(line)["mode"] for line in capsys.readouterr().out.splitlines()] == ["pool", ""]

    def test_parse_only_of_a_file_that_is_not_there(self, capsys):
        assert main(["--parse-only", "--file", "/nowhere/x"]) == 2
        assert capsys.readouterr().err == "--file /nowhere/x: No such file or directory\n"

    def test_no_controller(self, tmp_path, capsys):
        assert main(["--home", str(tmp_path), "-c", "show pool"]) == 69
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(
            f"no controller answers in {tmp_path}; start one: avishd serve --home {tmp_path}"
        )
        assert captured.err.count("\n") == 1

    def test_a_bad_option(self, capsys):
        with pytest.raises(SystemExit) as caught:
            main(["--nonsense"])
        assert caught.value.code == 2
        assert "--nonsense" in capsys.readouterr().err

    def test_a_bug_is_one_line_with_a_reference(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "log").mkdir()
        monkeypatch.setattr("avish.shell.main.schema", lambda: 1 / 0)
        assert main(["--home", str(tmp_path), "-c", "show pool"]) == 70
        err = capsys.readouterr().err
        assert err.startswith("internal error ")
        assert err.count("\n") == 1
        (log,) = (tmp_path / "log").iterdir()
        assert str(log) in err
        assert "ZeroDivisionError" in log.read_text()

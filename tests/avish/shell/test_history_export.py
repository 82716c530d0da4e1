"""A session as a runbook."""

from __future__ import annotations

from shelltools import Shell


def exported(shell, skip=2):
    return shell.type("history export")[-1].split("\n")[skip:]


def test_words_are_written_out_and_refused_lines_left_out():
    shell = Shell(interactive=True)
    shell.type("conf pool p1", "no-such-word", "descr x", "servers ip 10.0.0.1", "save", "save", "sh pool p1")
    lines = exported(shell)
    assert lines == ["configure pool p1", "description x", "servers ip 10.0.0.1", "save", "save", "show pool p1"]
    again = Shell()
    again.type(*lines)
    assert again.world.objects["pool"]["p1"]["servers"] == shell.world.objects["pool"]["p1"]["servers"]


def test_secrets_are_placeholders_however_they_were_given():
    shell = Shell(said=["Canary-asked"], interactive=True)
    shell.type("configure user anna", "password Canary-line", "password")
    shell.effects("password --", block="Canary-block")
    shell.type("save", "configure user bert --password Canary-flag")
    shell.effects("configure user carl << END", block="password: Canary-yaml\nfull_name: Carl")
    shell.effects("configure user dora << END", block="--password Canary-paths\n--full_name Dora")
    assert set(shell.world.objects["user"]) == {"anna", "bert", "carl", "dora"}
    lines = exported(shell)
    assert "Canary" not in "\n".join(lines)
    assert lines.count("password <sensitive>") == 3
    assert "configure user bert --password <sensitive>" in lines
    assert {"password: <sensitive>", "full_name: Carl", "--password <sensitive>", "--full_name Dora"} <= {
        line.strip().replace("'", "") for line in lines
    }


def test_texts_of_several_lines_and_names_with_blanks():
    shell = Shell({"pool": {"a b": {"name": "a b", "uuid": "pool-1"}}}, interactive=True)
    shell.type("configure pool a b")
    shell.effects("descr --", block="one\ntwo")
    shell.type("save")
    assert exported(shell) == ['configure pool "a b"', "description --", "one", "two", "END", "save"]


def test_it_begins_in_its_tenant_and_goes_to_a_file():
    shell = Shell(tenant="blue")
    shell.type("show pool")
    assert exported(shell) == ["switchto tenant blue", "show pool"]
    assert shell.type("history export /a/file") == ["Wrote 2 lines to /a/file"]
    assert exported(shell)[-2:] == ["# history export", "# history export /a/file"]

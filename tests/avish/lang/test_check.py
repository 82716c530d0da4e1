"""Lines judged without a controller, and the runbooks that must pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from language import TREE

from avish.lang.check import Checker

RUNBOOKS = Path(__file__).parents[3] / "fixtures" / "runbooks"
SEQUENCES = Path(__file__).parent / "sequences"


def judged(lines):
    checker = Checker(TREE)
    return [checker.check(line) for line in lines]


def modes(lines):
    verdicts = judged(lines)
    assert [v for v in verdicts if not v["ok"]] == []
    return [v["mode"] for v in verdicts]


def test_modes_are_followed():
    lines = [
        "configure pool p",
        "servers ip 10.1.1.1",
        "save",
        "servers",
        "cancel",
        "exit",
        "debug serviceengine s",
        "flags",
    ]
    expected = [
        "pool",
        "pool:servers",
        "pool",
        "pool:servers",
        "pool",
        "",
        "debugserviceengine",
        "debugserviceengine:flags",
    ]
    assert modes(lines) == expected


def test_a_field_of_the_parent_leaves_the_mode():
    assert modes(["configure pool p", "servers ip 10.1.1.1", "lb_algorithm lb_algorithm_round_robin"])[-1] == "pool"


def test_blank_lines_comments_and_indentation():
    assert modes(["", "   ", "# a comment", "  # another", "\tconfigure pool p\r\n", "      enabled"])[-1] == "pool"


def test_a_line_that_is_not_understood_changes_nothing():
    verdicts = judged(["configure pool p", "servers ip 10.1.1", "servers ip 10.1.1.1"])
    assert verdicts[1] == {
        "ok": False,
        "error": "ip: '10.1.1' is not an IP address",
        "expected": ["IP4 address x.x.x.x or IP6 address x:x::x"],
    }
    assert verdicts[2]["mode"] == "pool:servers"


def test_a_save_too_many_is_fine():
    assert modes(["save", "exit", "cancel", "where"]) == ["", "", "", ""]


def test_names_of_objects_are_not_looked_up():
    assert (
        modes(["configure virtualservice v", "pool_ref never-made", "do show pool never-made"])[-1] == "virtualservice"
    )


def test_the_founding_runbook():
    found = modes((RUNBOOKS / "active-ftp.avi").read_text().splitlines())
    assert found[-1] == ""
    assert "natpolicy:rules:match:services:source_port" in found
    assert "networkservice:routing_service" in found


@pytest.mark.parametrize("path", sorted(SEQUENCES.glob("*.txt")), ids=lambda p: p.stem)
def test_documented_sequences(path):
    """Lines as operators' guides have them; a line ``=> mode`` says where the prompt is then."""
    checker, mode = Checker(TREE), ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("=>"):
            assert mode == line[2:].strip(), f"line {number}"
            continue
        verdict = checker.check(line)
        assert verdict["ok"], f"line {number}: {line}: {verdict}"
        mode = verdict["mode"]


GEHEIM = [
    ("configure healthmonitor h authentication password geheim", None),
    ("configure healthmonitor h --authentication.password geheim --nonsense 1", None),
    ("configure healthmonitor h authentication password geheim nonsense", None),
    ('configure healthmonitor h authentication password "geheim', None),
    ("configure healthmonitor h << END", "authentication:\n  username: u\n  password: geheim\n"),
    ("configure healthmonitor h << END", "authentication:\n  username: u\n  password: |\n    geheim\n"),
    ("configure healthmonitor h << END", "authentication: {username: u, password: 'geheim'}\nnonsense: 1\n"),
    ("configure healthmonitor h << END", "authentication:\n  password: |\n    geheim\nnonsense: 1\n"),
    ("configure healthmonitor h << END", '--authentication.password "geheim"\n--authentication.username u'),
    ("configure healthmonitor h << END", "--authentication.password geheim\n--nonsense u"),
    ("configure healthmonitor h authentication password --", "geheim"),
]


@pytest.mark.parametrize(("line", "block"), GEHEIM)
def test_no_secret_is_told(line, block):
    checker = Checker(TREE)
    verdict = checker.check(line, block)
    told = "\n".join([checker.shown, *checker.block, str(verdict)])
    assert "geheim" not in told
    assert "healthmonitor h" in told
    assert len(checker.block) == (len(block.split("\n")) if block else 0)


def test_what_is_no_secret_is_told_as_it_is():
    checker = Checker(TREE)
    checker.check("configure pool p << END", "name: p\ndescription: a key to it")
    assert (checker.shown, checker.block) == ("configure pool p << END", ["name: p", "description: a key to it"])
    checker.check("configure pool p nonsense")
    assert checker.shown == "configure pool p nonsense"

"""Errors as text, and output through grep."""

from __future__ import annotations

import pytest

from avish.errors import ApplyError, Issue, ParseError, UnavailableError, ValidationError
from avish.shell.explain import explain
from avish.shell.pipes import piped

TABLE = "| name | Web |\n| port | 80  |\n| web_port | 81 |"


class TestExplain:
    def test_everything_about_a_line(self):
        error = ParseError(
            "unknown word 'pol'", line="configure pol x", start=10, end=13, expected=("pool", "vsvip"), nearest="pool"
        )
        assert explain(error, "line 7") == (
            "line 7: unknown word 'pol'\n  configure pol x\n            ^^^\n  expected: pool, vsvip\n  did you mean: pool"
        )

    def test_only_what_is_known(self):
        assert explain(ParseError("no such file")) == "no such file"

    def test_many_words_are_counted(self):
        error = ParseError("x", expected=tuple(f"w{n}" for n in range(30)))
        assert explain(error).endswith("w10, w11 ... (18 more)")

    def test_the_mark_at_the_end_of_a_line_that_is_too_short(self):
        error = ParseError("too short", line="configure pool", start=14, end=15)
        assert explain(error).splitlines()[1:] == ["  configure pool", "                ^"]

    def test_a_long_line_is_cut_around_the_mark(self):
        line = "a" * 200 + " bad " + "c" * 200
        shown = explain(ParseError("x", line=line, start=201, end=204)).splitlines()[1:]
        assert shown[0].startswith("  ... ")
        assert len(shown[0]) < 140
        assert shown[0][shown[1].index("^") :][:3] == "bad"
        assert shown[1].strip() == "^^^"

    def test_control_characters_do_not_reach_the_terminal(self):
        text = explain(ParseError("x", line="a\x1bb\tc", start=1, end=2))
        assert text == "x\n  a?b?c\n   ^"

    def test_every_issue_with_its_place(self):
        error = ValidationError([Issue("pool p servers[1]", "ip is missing"), Issue("", "and more")])
        assert explain(error, "line 2") == "line 2: pool p servers[1]: ip is missing\nline 2: and more"

    @pytest.mark.parametrize("kind", [ApplyError, UnavailableError])
    def test_other_kinds(self, kind):
        assert explain(kind("because")) == "because"


class TestGrep:
    @pytest.mark.parametrize(
        ("pipes", "expected"),
        [
            ([], TABLE),
            ([("grep", "port")], "| port | 80  |\n| web_port | 81 |"),
            ([("grep", "-i", "WEB")], "| name | Web |\n| web_port | 81 |"),
            ([("grep", "-v", "port")], "| name | Web |"),
            ([("grep", "-c", "port")], "2"),
            ([("grep", "-e", r"80\|81")], "| port | 80  |\n| web_port | 81 |"),
            ([("grep", "port"), ("grep", "web")], "| web_port | 81 |"),
            ([("grep", "nothing")], ""),
            ([("grep", "--", "-x")], ""),
            ([("grep", "")], TABLE),
            ([("grep", "-m1", "port")], "| port | 80  |"),
            ([("grep", "-iA", "1", "WEB ")], "| name | Web |\n| port | 80  |"),
            ([("grep", "--ignore-case", "--regexp=WEB ")], "| name | Web |"),
            ([("grep", "name", "-v")], "| port | 80  |\n| web_port | 81 |"),
        ],
    )
    def test_arguments_are_those_of_grep(self, pipes, expected):
        assert piped(TABLE, pipes) == expected

    @pytest.mark.parametrize(
        ("pipe", "text"),
        [
            (("grep",), "grep needs something to look for"),
            (("grep", "x", "/etc/passwd"), "grep reads the output of the command, no files: /etc/passwd"),
            (("grep", "-i", "x", "/etc/passwd"), "grep reads the output of the command, no files"),
            (("grep", "-e", "x", "/etc/passwd"), "grep reads the output of the command, no files"),
            (("grep", "-r", "x"), "grep: option -r not recognized"),
            (("grep", "-f", "/etc/passwd"), "grep: option -f not recognized"),
            (("grep", "--file=/etc/passwd"), "grep: option --file not a unique prefix"),
            (("grep", "--nonsense", "x"), "grep: option --nonsense not recognized"),
            (("grep", r"\("), "grep: Unmatched ( or \\("),
        ],
    )
    def test_refused(self, pipe, text):
        with pytest.raises(ParseError) as caught:
            piped(TABLE, [pipe])
        assert text in caught.value.text

"""Runbooks in colour."""

from __future__ import annotations

from pathlib import Path

from pygments.token import Error, Keyword, Name, Number, String

from avish.shell.pygment import RunbookLexer

RUNBOOK = Path(__file__).parents[3] / "fixtures/runbooks/active-ftp.avi"


def test_words_have_their_kind_in_the_mode_they_stand_in():
    found = [
        (kind, text)
        for kind, text in RunbookLexer().get_tokens("configure pool p\n  servers ip 10.1.1.1 port 80\n")
        if text.strip()
    ]
    assert found == [
        (Keyword, "configure"), (Name.Class, "pool"), (Name.Variable, "p"), (Name.Attribute, "servers"),
        (Name.Attribute, "ip"), (String, "10.1.1.1"), (Name.Attribute, "port"), (Number, "80"),
    ]  # fmt: skip


def test_the_founding_runbook_has_no_wrong_word_and_loses_nothing():
    text = RUNBOOK.read_text()
    found = list(RunbookLexer(stripnl=False, ensurenl=False).get_tokens(text))
    assert "".join(piece for _, piece in found) == text
    assert [piece for kind, piece in found if kind is Error] == []

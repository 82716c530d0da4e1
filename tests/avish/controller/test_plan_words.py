"""Every table of a state has words for its steps: a dry run, and each commit, says them."""

from __future__ import annotations

import pytest

from avish.controller.words import NOUNS, step_text
from dataplane.diff import Step
from dataplane.model import TABLES


def test_every_table_has_words():
    assert set(TABLES) == {*NOUNS, "timeouts"}


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Step("put", "timeouts", "tcp established", None, 300), "remember tcp established flows 300 s"),
        (Step("drop", "timeouts", "icmp", 60, None), "remember icmp flows as the kernel does"),
        (Step("put", "switches", "own_interface_only", None, True), "turn own_interface_only on"),
    ],
)
def test_words(step, text):
    assert step_text(step) == text

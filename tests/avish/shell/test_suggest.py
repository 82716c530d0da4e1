"""What the history offers behind a line."""

from types import SimpleNamespace

from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from avish.shell.suggest import LOOKED, FromHistory


def offered(lines, text):
    history = InMemoryHistory()
    for line in lines:
        history.append_string(line)
    found = FromHistory().get_suggestion(SimpleNamespace(history=history), Document(text))
    return None if found is None else found.text


def test_the_newest_that_begins_so():
    lines = ["show pool a", "show pool b", "configure pool c"]
    assert offered(lines, "show p") == "ool b"
    assert offered(lines, "conf") == "igure pool c"
    assert offered(lines, "delete") is None
    assert offered(lines, "  ") is None


def test_lines_of_several_are_passed_over():
    assert offered(["show pool a", "show pool b\nshow pool c"], "show") == " pool a"


def test_a_long_history_is_not_looked_through_whole():
    assert offered(["old one"] + ["x"] * LOOKED, "old") is None
    assert offered(["old one"] + ["x"] * (LOOKED - 1), "old") == " one"

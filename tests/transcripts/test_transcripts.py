"""Whole sessions: the prompt lines of a transcript are typed, the rest must come out.

``\\t`` or ``?`` at the end of an input shows what may stand there, as TAB TAB and ``?`` do on a terminal. Lines above
the first prompt say what the transcript is for, and with which options of ``avish`` it runs (``# options: --dry-run``).
AVISH_UPDATE_TRANSCRIPTS=1 writes what came out into the files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from controller import Direct, Lab
from language import TREE

from avish.errors import AvishError
from avish.lang.complete import complete
from avish.shell.driver import Driver
from avish.shell.explain import explain
from avish.shell.keys import listing
from avish.shell.session import Session

TRANSCRIPTS = Path(__file__).parents[2] / "fixtures" / "transcripts"
PROMPT = re.compile(r"^\[\w+:[\w-]+\]: [\w:]*> ?(.*)$")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
MORE = re.compile(r"\(\d+ more\)$", re.MULTILINE)
MOMENT = re.compile(r'("_last_modified": ")\d{16}"')


class Screen:
    """Keeps what is shown; a capture's lines come from elsewhere, so only that it is watched."""

    def __init__(self):
        self.lines = []

    def out(self, text):
        self.lines.append(text)

    def err(self, text):
        self.lines.append(text)

    page = out

    def confirm(self, text):
        self.lines.append(f"{text} [y/N] y")
        return True

    def frame(self, text, title):
        self.lines.append(f"{title}\n{text}" if title else text)

    def pause(self, seconds):
        return False

    def start(self, stream):
        self.lines.append(f"(from here on the capture on {stream.title} shows its packets)")


class Terminal:
    """A session at a terminal that types and reads."""

    def __init__(self, lab, **options):
        self.screen = Screen()
        self.client = Direct(lab)
        self.session = Session(TREE, "ctlr1", interactive=True, **options)
        self.driver = Driver(self.session, self.client, self.screen, self.screen, as_json=False)

    def names(self, kind):
        answer = self.client.call("GET", f"/api/{kind}", {"fields": "name", "page_size": "-1"})
        return sorted(one["name"] for one in answer.body["results"])

    def type(self, text):
        """The prompt with what was typed, and everything that comes before the next prompt."""
        self.screen.lines = [f"{self.session.prompt}{text}".rstrip()]
        if text.endswith(("\\t", "?")):
            before = text.removesuffix("\\t").removesuffix("?")
            found = complete(TREE, self.session.modes, before, self.names)
            self.screen.out(listing(found) or "nothing is possible here: the line is already wrong or complete")
            return "\n".join(self.screen.lines)
        try:
            self.driver.run(text)
        except AvishError as error:
            self.screen.err(explain(error))
        return "\n".join(self.screen.lines)


def settled(text):
    """``text`` with uuids numbered in the order of their appearance, times standing still, and nobody counting words."""
    seen = {}
    text = UUID.sub(lambda found: seen.setdefault(found.group(), f"00000000-0000-4000-8000-{len(seen) + 1:012d}"), text)
    return MOMENT.sub(r'\g<1>1700000000000000"', MORE.sub("(N more)", text))


def replayed(text, lab):
    """The transcript as it comes out now."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if PROMPT.match(line))
    given = " ".join(lines[:first]).partition("# options:")[2]
    terminal = Terminal(lab, dry_run="--dry-run" in given, quiet="--min-output" in given)
    inputs = [found.group(1) for line in lines if (found := PROMPT.match(line))]
    pieces = []
    for typed in inputs:
        assert not terminal.driver.leaving, f"the session is over before {typed!r}"
        pieces.append(terminal.type(typed))
    return settled("\n".join([*lines[:first], *pieces]) + "\n")


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path, lab):
    text = path.read_text()
    now = replayed(text, lab)
    if os.environ.get("AVISH_UPDATE_TRANSCRIPTS") == "1":
        path.write_text(now)
    assert now == path.read_text()


def test_every_transcript_says_what_it_is_for():
    found = sorted(TRANSCRIPTS.glob("*.txt"))
    assert found
    assert [path.name for path in found if not path.read_text().startswith("# ")] == []

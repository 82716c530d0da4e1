from __future__ import annotations

import threading

import pytest

from avish.shell.lineeditor import Interrupted, LineEditor


def typed(data, question=lambda key, before: ("", f"help for {before!r}"), chunk=None, **more):
    """(lines, everything echoed) for bytes that come in pieces."""
    echoed, lines = [], []
    editor = LineEditor(echoed.append, question, **more)
    pieces = [data] if chunk is None else [data[n : n + chunk] for n in range(0, len(data), chunk)]
    for piece in pieces:
        rest = piece
        while rest:
            line, rest = editor.feed(rest, "> ")
            if line is not None:
                lines.append(line)
    return lines, "".join(echoed)


@pytest.mark.parametrize("chunk", [None, 1, 3])
@pytest.mark.parametrize(
    ("data", "lines", "echo"),
    [
        (b"show pool\r", ["show pool"], "show pool\r\n"),
        (b"a\r\nb\nc\r", ["a", "b", "c"], "a\r\nb\r\nc\r\n"),
        (b"shoq\x7fw\r", ["show"], "shoq\b \bw\r\n"),
        (b"\x08\x7fa\r", ["a"], "a\r\n"),
        (b"show pool\x17x\x15y\r", ["y"], None),
        ("ä€\r".encode(), ["ä€"], "ä€\r\n"),
        (b"a\x1b[Ab\x1b[12;40Rc\x1bOAd\r", ["abcd"], "abcd\r\n"),
        (b"\xffa\r", ["�a"], None),
        (b"\x00\x01a\r", ["a"], "a\r\n"),
    ],
)
def test_what_is_typed_comes_back_once(data, lines, echo, chunk):
    found, echoed = typed(data, chunk=chunk)
    assert found == lines
    assert echo in (None, echoed)


def test_help_shows_and_the_line_stays():
    lines, echoed = typed(b"sh?ow\r")
    assert lines == ["show"]
    assert echoed == "sh?\r\nhelp for 'sh'\r\n> show\r\n"


def test_tab_inserts():
    assert typed(b"sh\t\r", lambda key, before: ("ow ", ""))[0] == ["show "]


def test_hidden_is_hidden():
    assert typed(b"sec\x7fret?\r", hidden=True) == (["seret?"], "\r\n")


def test_what_is_behind_a_ctrl_c_is_kept():
    editor = LineEditor(lambda _: None, lambda _, __: ("", ""))
    with pytest.raises(Interrupted):
        editor.feed(b"abc\x03where\r", "> ")
    assert editor.left == b"where\r"
    assert editor.feed(editor.left, "> ") == ("where", b"")


def test_ctrl_c_and_ctrl_d():
    with pytest.raises(Interrupted):
        typed(b"abc\x03")
    with pytest.raises(EOFError):
        typed(b"\x04")
    assert typed(b"a\x04b\r")[0] == ["ab"]


def test_a_line_without_end_stays_small():
    lines, echoed = typed(b"x" * 70_000 + b"\r")
    assert len(lines[0]) == 65_536
    assert echoed.count("\a") == 70_000 - 65_536


class TestSessions:
    @pytest.fixture
    def talk(self, rig):
        """A function of bytes: (exit status, everything that came back)."""
        from avish.lang.tree import Tree
        from avish.schema.load import schema
        from avish.shell.plain import Plain
        from avish.shell.session import Session

        def talk(data):
            tree, sent = Tree(schema()), []
            session = Session(tree, "c", interactive=True)
            plain = Plain(tree, session, DirectClient(rig), sent.append, lambda kind: ["web"])
            plain.feed(data)
            plain.hang_up()
            thread_status = []
            thread = threading.Thread(target=lambda: thread_status.append(plain.run()))
            thread.start()
            thread.join(20)
            assert not thread.is_alive()
            return thread_status[0], "".join(sent)

        return talk

    def test_prompt_echo_answer(self, talk):
        status, text = talk(b"configure pool web\rsave\rshow pool web | grep name\rexit\r")
        assert status == 0
        assert text.startswith("[admin:c]: > configure pool web\r\n")
        assert "[admin:c]: pool> save\r\n" in text
        assert "web" in text.rpartition("| grep name\r\n")[2]
        assert "\x1b" not in text

    def test_an_end_in_the_middle_tells_of_the_error(self, talk):
        status, text = talk(b"show nothing-such\rshow pool\r")
        assert status == 2
        assert "[admin:c]: > show pool\r\n" in text

    def test_what_was_not_saved_is_told(self, talk):
        status, text = talk(b"configure pool web\r")
        assert status == 2
        assert "was not saved" in text

    def test_help(self, talk):
        _, text = talk(b"sho?\x15exit\r")
        assert "Show objects" in text


class DirectClient:
    """The client of a shell, without sockets."""

    home = None

    def __init__(self, rig):
        self._rig, self._headers = rig, {}

    def twin(self):
        return self

    def work_in(self, tenant):
        self._headers = {"x-avi-tenant": tenant}

    def call(self, method, path, query=None, body=None, etag="", comment=""):
        from urllib.parse import unquote

        response = self._rig.call(method, unquote(path.partition("?")[0]), body, headers=self._headers, **(query or {}))

        class Answer:
            status, body, warnings, confirm = response.status, response.body, (), ""
            etag = ""

        return Answer()

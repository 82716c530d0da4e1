"""What reads what people and programs write, each as a function of bytes that may raise nothing but a told error.

As a program: ``python tests/fuzz/targets.py NAME [-max_total_time=60 ...]`` lets atheris look for bytes that break
one; the options are libFuzzer's.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:  # no wheel for this machine
    atheris = None

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1] / "support")]

with atheris.instrument_imports(include=["avish"]) if atheris and __name__ == "__main__" else contextlib.nullcontext():
    from avish.errors import AvishError, ParseError
    from avish.lang import flags, script
    from avish.lang.check import Checker
    from avish.lang.complete import complete
    from avish.lang.highlight import marks
    from avish.lang.lex import lex
    from avish.lang.secrets import without
    from avish.lang.tail import split
    from avish.lang.tree import Tree
    from avish.lang.walk import parse
    from avish.schema.load import schema
    from avish.shell.batch import lines_of
    from avish.shell.explain import explain

TREE = Tree(schema())
KINDS = TREE.schema.objects()


def _kind(data):
    return KINDS[data[0] % len(KINDS)] if data else KINDS[0]


def _text(data):
    return data.decode("utf-8", "replace")


def fuzz_lexer(data):
    """Words, quotes, pipes."""
    for partial in (False, True):
        split(lex(_text(data), partial=partial))


def fuzz_line(data):
    """A line inside some object, and everything a terminal does with it."""
    line, frames = _text(data[1:]), [_kind(data)]
    complete(TREE, frames, line, lambda _: ["a", "b c"])
    marks(TREE, frames, line)
    without(TREE, frames, line)
    for modes in ([], frames):
        for short in (False, True):
            with contextlib.suppress(ParseError):
                parse(TREE, modes, line, abbreviate=short)


def fuzz_yaml(data):
    """An object as YAML; what is read is written and read again."""
    kind = _kind(data)
    body = script.parse(kind, _text(data[1:]))
    assert script.parse(kind, script.format(kind, body)) == body


def fuzz_flags(data):
    """An object as paths and values; what is read is written and read again."""
    kind = _kind(data)
    body = flags.parse_block(kind, _text(data[1:]))
    flags.format(kind, body, multi_line=True)


def fuzz_script(data):
    """A whole runbook, judged as ``--parse-only`` does."""
    checker = Checker(TREE)
    for _, line in lines_of(_stream(data)):
        if not isinstance(line, ParseError):
            assert checker.check(line)["ok"] in (True, False)


def fuzz_json(data):
    """A configuration to import: taken or refused whole."""
    text = _text(data)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return
    answer = _client().call("POST", "/api/configuration/import", {"dryrun": "1"}, config)
    assert answer.status < 500, answer.body


def _stream(data):
    import io

    return io.BytesIO(data)


_LAB = []


def _client():
    """A controller, made once."""
    if not _LAB:
        from controller import Direct, Lab

        _LAB.append(Direct(Lab(Path(tempfile.mkdtemp(prefix="avish-fuzz-")))))
    return _LAB[0]


TARGETS = {name.removeprefix("fuzz_"): found for name, found in list(globals().items()) if name.startswith("fuzz_")}


def once(name, data):
    """Run a target; a told error is an answer like any other."""
    told = ""
    try:
        TARGETS[name](data)
    except AvishError as error:
        told = explain(error)
    assert all(char.isprintable() or char == "\n" for char in told)


def main():
    """Let atheris run."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: once(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()

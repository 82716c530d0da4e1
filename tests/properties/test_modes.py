"""What a shell prints as text, in any input mode, pasted back makes the same object; damaged text is told, never worse."""

from __future__ import annotations

import contextlib

from bodies import SCHEMA, rest, store, stored, type_lines
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from avish.errors import ParseError, ValidationError
from avish.lang import flags, paste, script
from avish.lang.flags_complete import complete
from avish.lang.lex import lex

QUICK = settings(
    max_examples=700,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking whole objects takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


def again(kind, body, read):
    """What the controller stores of a body that was read back; a placeholder keeps its secret."""
    return store(kind, {"name": body.get("name", ""), **read}, body)


@QUICK
@given(stored(), st.booleans())
def test_lines_typed_at_the_prompt_make_the_same_object(pair, full):
    kind, body = pair
    lines = paste.lines(kind, rest(kind, body), full=full)
    assert again(kind, body, type_lines(lines)) == body


@QUICK
@given(stored(), st.booleans())
def test_lines_typed_over_the_same_object_change_nothing(pair, full):
    kind, body = pair
    shown = rest(kind, body)
    assert store(kind, type_lines(paste.lines(kind, shown, full=full), shown), body) == body


@QUICK
@given(stored(), st.booleans(), st.booleans())
def test_a_command_of_paths_makes_the_same_object(pair, multi_line, brief):
    kind, body = pair
    text = flags.format(kind, rest(kind, body), multi_line=multi_line, brief=brief)
    assert again(kind, body, type_lines(text.split("\n"))) == body


@QUICK
@given(stored())
def test_a_document_makes_the_same_object(pair):
    kind, body = pair
    text = script.format(kind, rest(kind, body))
    assert all(line.strip() != "END" for line in text.split("\n"))
    assert again(kind, body, script.parse(kind, text)) == body


DAMAGE = st.one_of(
    st.sampled_from(
        ["--", ".", "1", "0", " ", "\n", '"', "'", "|", ":", "- ", "{", "}", "[", "&a", "*a", "!!x", "~", "\t", "#"]
    ),
    st.text(max_size=3),
)


@st.composite
def damaged(draw, text):
    """A beginning of a text, or the text with a piece put in or taken out."""
    at, end = draw(st.integers(0, len(text))), draw(st.integers(0, 8))
    return text[:at] + draw(st.one_of(st.just(""), DAMAGE)) + draw(st.sampled_from([text[at + end :], ""]))


@QUICK
@given(st.data())
def test_damaged_text_is_read_or_refused(data):
    kind, body = data.draw(stored())
    shown = rest(kind, body)
    document = data.draw(damaged(script.format(kind, shown)))
    block = data.draw(damaged(flags.format(kind, shown, multi_line=True).partition("\n")[2]))
    line = data.draw(damaged(flags.format(kind, shown).partition("\n")[0]))
    for read, text in ((script.parse, document), (flags.parse_block, block), (_line, line)):
        with contextlib.suppress(ParseError, ValidationError):
            store_or_refuse(kind, read(kind, text))


def _line(kind, line):
    return flags.parse(kind, lex(line).tokens[3:], line)


def store_or_refuse(kind, read):
    """Whatever is read passes the grammar of its fields once more."""
    assert script.parse(kind, script.format(kind, read)) == read_back(kind, read)


def read_back(kind, read):
    """Nothing but what a document cannot say is different."""
    return read


@QUICK
@given(st.sampled_from(SCHEMA.objects()), st.data())
def test_what_is_offered_behind_a_path_is_accepted(kind, data):
    """Offers taken one after the other lead to a line without an unknown word."""
    typed = "--"
    for _ in range(6):
        offers = [text for text, _ in complete(kind, typed) if text]
        if not offers:
            break
        start = lex(typed, partial=True).tokens[-1].start if typed and not typed.endswith(" ") else len(typed)
        typed = typed[:start] + data.draw(st.sampled_from(offers))
        if not typed.endswith("."):
            typed += " "
    error = None
    try:
        flags.parse(kind, lex(typed).tokens, typed)
    except ParseError as refusal:
        error = refusal.text
    allowed = ("needs a value", "between its dots", "number of the element", "numbered without gaps", "is given twice")
    assert error is None or any(text in error for text in allowed), (typed, error)

"""What holds for every line: what is offered is accepted, and nothing but a told error ever comes of one."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from language import TREE
from typed import NOISE, Modes, lines, modes, names, typed

from avish.errors import ParseError
from avish.lang.complete import complete
from avish.lang.lex import lex, quote
from avish.lang.walk import parse
from avish.schema import types
from avish.shell.explain import explain

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
MANY = settings(QUICK, max_examples=200)


@QUICK
@given(st.data())
def test_what_is_offered_is_accepted(data):
    """Over several lines, from the top or from inside any mode; the strategy fails where an offer is refused."""
    frames = data.draw(st.one_of(st.just(Modes()), modes()))
    for _ in range(3):
        line = data.draw(lines(frames))
        walk = parse(TREE, frames, line)
        if walk.ops[-1:] and walk.ops[-1][0] in ("save", "cancel", "exit") and line in ("save", "cancel", "exit"):
            frames = Modes(frames[:-1])
        else:
            frames = Modes(walk.frames)


@QUICK
@given(st.data())
def test_any_beginning_of_a_line_parses_completes_or_is_refused(data):
    frames = data.draw(st.one_of(st.just(Modes()), modes()))
    line = data.draw(lines(frames))
    for end in range(len(line) + 1):
        for abbreviate in (False, True):
            with contextlib.suppress(ParseError):
                parse(TREE, frames, line[:end], abbreviate=abbreviate)
        complete(TREE, frames, line[:end], names)


@QUICK
@given(st.data())
def test_every_offer_continues_what_was_typed(data):
    frames = data.draw(st.one_of(st.just(Modes()), modes()))
    line = data.draw(lines(frames))
    before = line[: data.draw(st.integers(0, len(line)))]
    for offer in complete(TREE, frames, before, names):
        assert 0 <= offer.start <= len(before)
        assert offer.text


@MANY
@given(modes(), NOISE)
def test_any_text_is_a_line_or_an_error_with_its_place(frames, line):
    for open_modes in ([], frames):
        error = refusal(open_modes, line)
        if error is not None:
            assert error.text
            assert 0 <= error.start <= len(line) + 1
            assert all(c.isprintable() or c == "\n" for c in explain(error, "line 1"))
        complete(TREE, open_modes, line, names)


def refusal(frames, line):
    """The error of a line, or None."""
    try:
        parse(TREE, frames, line)
    except ParseError as error:
        return error
    return None


@MANY
@given(modes(), NOISE)
def test_the_fast_way_and_the_careful_way_agree(frames, line):
    """A tab in front sends the same words the other way round."""

    def outcome(text):
        try:
            walk = parse(TREE, frames, text)
        except ParseError as error:
            return error.text
        return walk.ops, walk.frames, walk.pipes, walk.form

    assert outcome(line) == outcome("\t" + line)


SIMPLE = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())
KEYS = st.sampled_from(["addr", "type", "ip_addr", "mask"])
JSON = st.one_of(SIMPLE, st.lists(st.text()), st.dictionaries(KEYS, st.one_of(SIMPLE, st.dictionaries(KEYS, SIMPLE))))
ALL_TYPES = sorted(
    {id(f.type): f for o in TREE.schema.objects() for f in o.fields.values() if f.type is not None}.values(),
    key=lambda field: field.name,
)


@MANY
@given(st.data())
def test_what_a_type_prints_it_reads_back(data):
    leaf = data.draw(st.sampled_from(ALL_TYPES)).leaf
    value = leaf.parse(data.draw(typed(leaf)))
    assert leaf.check(value) == value
    if isinstance(leaf, types.Secret):
        return
    shown = leaf.format(value)
    if isinstance(leaf, types.Number) and leaf.unit:
        shown = shown.removesuffix(f" {leaf.unit}")
    assert leaf.parse(shown) == value
    assert leaf.format(leaf.parse(shown)) == leaf.format(value)


@MANY
@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp"))))
def test_quoted_text_is_one_word_that_means_itself(text):
    assert [token.text for token in lex(f"x {quote(text)} y").tokens] == ["x", text, "y"]


@MANY
@given(st.sampled_from(ALL_TYPES), JSON)
def test_a_type_takes_a_rest_value_or_says_why_not(field, value):
    with contextlib.suppress(ValueError):
        canonical = field.leaf.check(value)
        assert field.leaf.check(canonical) == canonical

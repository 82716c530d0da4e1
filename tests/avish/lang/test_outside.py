"""Nouns of the original that this product does not carry: a sentence in place of a list of other words."""

import pytest
from language import TREE

from avish.errors import ParseError
from avish.lang.walk import parse

NOUNS = sorted(TREE.schema.outside)


def refusal(line):
    with pytest.raises(ParseError) as caught:
        parse(TREE, [], line)
    return caught.value


@pytest.mark.parametrize("verb", ["configure", "show", "delete"])
def test_every_one_is_answered_in_words(verb):
    taken = {command.path[1] for command in TREE.schema.commands if command.path[0] == verb}
    for noun in NOUNS:
        if noun not in taken:
            error = refusal(f"{verb} {noun} x")
            assert str(error).startswith(TREE.schema.outside[noun]), noun
            assert (error.expected, error.nearest) == ((), ""), noun


def test_in_capitals_too():
    assert str(refusal("configure GSLBService x")).startswith(TREE.schema.outside["gslbservice"])


@pytest.mark.parametrize("verb", ["configure", "delete"])
def test_what_is_only_shown(verb):
    assert "a backup is made by the controller itself" in str(refusal(f"{verb} backup x"))
    assert parse(TREE, [], "show backup").ops


def test_elsewhere_such_a_word_is_any_word():
    assert "unknown word" in str(refusal("gslbservice"))

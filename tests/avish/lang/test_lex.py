"""A line into words: quotes, escapes, places, and what no line may hold."""

from __future__ import annotations

import pytest

from avish.errors import ParseError
from avish.lang.lex import LINE_LIMIT, lex, quote, words


def texts(line, **options):
    return [token.text for token in lex(line, **options).tokens]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("   \t ", []),
        ("servers ip 10.1.1.1", ["servers", "ip", "10.1.1.1"]),
        ("\tservers  ip ", ["servers", "ip"]),
        ("a\u00a0b\u3000c", ["a", "b", "c"]),
        ('sys_location "San Jose, CA"', ["sys_location", "San Jose, CA"]),
        ("x 'it is \"so\"'", ["x", 'it is "so"']),
        (r'x "a \"b\" \\ c"', ["x", 'a "b" \\ c']),
        (r"x 'a \ b'", ["x", r"a \ b"]),
        (r"x a\b", ["x", r"a\b"]),
        ('x ""', ["x", ""]),
        ("a\"b c\"d'e f'g", ["ab cde fg"]),
        ("show pool|grep x", ["show", "pool", "|", "grep", "x"]),
        ("show pool | grep 'a|b'", ["show", "pool", "|", "grep", "a|b"]),
        ("description grüße-日本", ["description", "grüße-日本"]),
        ("a #b", ["a", "#b"]),
        (r"x $'a\r\n\tb \' \\ \q' y", ["x", "a\r\n\tb ' \\ q", "y"]),
        (r"$'\u20ac\U0001f600\u12' y", ["€😀u12", "y"]),
        (r"x a$'b' $c $", ["x", "a$b", "$c", "$"]),
    ],
)
def test_words_of_a_line(line, expected):
    assert texts(line) == expected


def test_places_and_quoting():
    first, second = lex('  x "a b"').tokens
    assert (first.start, first.end, first.quoted) == (2, 3, False)
    assert (second.start, second.end, second.quoted) == (4, 9, True)


@pytest.mark.parametrize(
    ("line", "quote_char", "start"), [('x "abc', '"', 2), ("x 'abc", "'", 2), ('x a"b c', '"', 2), ('x "a\\"', '"', 2)]
)
def test_an_open_quote_is_refused_where_it_begins(line, quote_char, start):
    with pytest.raises(ParseError) as caught:
        lex(line)
    assert caught.value.text == f"the quote {quote_char} is never closed"
    assert (caught.value.start, caught.value.end, caught.value.line) == (start, len(line), line)


def test_an_open_quote_is_no_error_while_typing():
    lexed = lex('x "a b', partial=True)
    assert (lexed.open_quote, lexed.tokens[-1].text, lexed.tokens[-1].quoted) == ('"', "a b", True)


@pytest.mark.parametrize(
    "char", ["\x00", "\x07", "\x1b", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\u200b", "\u202e", "\udc80", "\u2028"]
)
@pytest.mark.parametrize("line", ["a{}b", 'x "a{}b"', "x '{}'", "x {} y", "{}"])
def test_control_characters_are_refused_wherever_they_stand(line, char):
    text = line.format(char)
    with pytest.raises(ParseError) as caught:
        lex(text)
    assert caught.value.text == f"a control character (code {ord(char)}) cannot be part of a line"
    assert caught.value.start == text.index(char)
    assert words(text) is None


def test_a_line_that_is_too_long_is_refused_unread():
    with pytest.raises(ParseError) as caught:
        lex("x" * 1_000_000)
    assert caught.value.text == "the line has 1000000 characters; at most 65536 are read"
    assert len(caught.value.line) <= 80
    assert words("x" * 1_000_000) is None


def test_the_longest_line_is_read():
    assert len(texts("x " * (LINE_LIMIT // 2))) == LINE_LIMIT // 2


@pytest.mark.parametrize("line", ["servers ip 10.1.1.1", "", "  a  b ", "description grüße", "a #b"])
def test_the_fast_way_finds_the_same_words(line):
    assert words(line) == texts(line)


@pytest.mark.parametrize("line", ['a "b"', "a 'b'", "a | b", "a\tb", "a\u00a0b"])
def test_the_fast_way_leaves_the_rest_to_the_other(line):
    assert words(line) is None


@pytest.mark.parametrize("text", ["plain", "a b", 'say "x"', "it's", "back\\slash", "a|b", "", "#x", "ü ß", 'a\\"b'])
def test_quoted_text_means_itself(text):
    assert texts(f"x {quote(text)}") == ["x", text]


@pytest.mark.parametrize("text", ["plain", "10.0.0.0/24", "a-b", "ü"])
def test_what_needs_no_quotes_gets_none(text):
    assert quote(text) == text

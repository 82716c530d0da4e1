r"""A line into words. Quotes hold blanks; a backslash in double quotes takes the next character as it is.

``$'...'`` holds what no line can, as bash writes it: ``\n``, ``\r``, ``\t``, ``\\``, ``\'``, ``\uHHHH`` and
``\UHHHHHHHH``.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from avish.errors import ParseError

LINE_LIMIT = 65_536
"""Characters a line may have; more is refused before anything looks at it."""

_SPECIAL = re.compile(r"[\"'|]")
_WORD = re.compile(r"[^\s\"'|]+")
_BLANK = re.compile(r"\s+")
_ESCAPED = "$'"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_CODE = re.compile(r"u([0-9a-fA-F]{4})|U(00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, where it stands, and whether it was quoted (then it is no keyword)."""

    text: str
    start: int
    end: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Lexed:
    """The words of a line; ``open_quote``: the line ends inside quotes (completion only)."""

    line: str
    tokens: tuple[Token, ...]
    open_quote: str = ""


def words(line: str) -> list[str] | None:
    """The words of a line without quotes, pipes or control characters, in one step; None: use ``lex``."""
    if len(line) > LINE_LIMIT or not line.isprintable() or _SPECIAL.search(line):
        return None
    return line.split()


def lex(line: str, *, partial: bool = False) -> Lexed:
    """The tokens of ``line``; ``|`` is a token of its own.

    ``partial``: the line is being typed, an open quote is no error. Raises ParseError marking the place.
    """
    if len(line) > LINE_LIMIT:
        raise ParseError(f"the line has {len(line)} characters; at most {LINE_LIMIT} are read", line=line[:80])
    _no_control(line)
    tokens: list[Token] = []
    at = 0
    while at < len(line):
        blank = _BLANK.match(line, at)
        if blank:
            at = blank.end()
            continue
        token, quote = (Token("|", at, at + 1), "") if line[at] == "|" else _word(line, at)
        if quote and not partial:
            raise ParseError(f"the quote {quote} is never closed", line=line, start=at, end=len(line))
        tokens.append(token)
        at = token.end
        if quote:
            return Lexed(line, tuple(tokens), quote)
    return Lexed(line, tuple(tokens))


def _word(line: str, start: int) -> tuple[Token, str]:
    """The word at ``start`` and the quote left open in it, or ""."""
    if line.startswith(_ESCAPED, start):
        return _escaped(line, start)
    parts: list[str] = []
    at, quoted = start, False
    while at < len(line) and not line[at].isspace() and line[at] != "|":
        if line[at] in "\"'":
            quote = line[at]
            text, at, closed = _quoted(line, at)
            parts.append(text)
            quoted = True
            if not closed:
                return Token("".join(parts), start, at, True), quote
            continue
        match = _WORD.match(line, at)
        text = match.group() if match else line[at]
        parts.append(text)
        at += len(text)
    return Token("".join(parts), start, at, quoted), ""


def _quoted(line: str, start: int) -> tuple[str, int, bool]:
    quote, at = line[start], start + 1
    out: list[str] = []
    while at < len(line):
        char = line[at]
        if char == quote:
            return "".join(out), at + 1, True
        if char == "\\" and quote == '"' and at + 1 < len(line):
            at += 1
            char = line[at]
        out.append(char)
        at += 1
    return "".join(out), at, False


def _escaped(line: str, start: int) -> tuple[Token, str]:
    """The word ``$'...'`` at ``start``, and "'" when it is never closed."""
    out: list[str] = []
    at = start + len(_ESCAPED)
    while at < len(line) and line[at] != "'":
        if line[at] != "\\":
            out.append(line[at])
        elif code := _CODE.match(line, at + 1):
            out.append(chr(int(code[1] or code[2], 16)))
            at += len(code[0])
        else:
            at += 1
            out.append(_ESCAPES.get(line[at : at + 1], line[at : at + 1]))
        at += 1
    closed = at < len(line)
    return Token("".join(out), start, min(at + 1, len(line)), True), "" if closed else "'"


def _no_control(line: str) -> None:
    """Refuse what a terminal would act on or hide; of the blanks, tabs and the wide ones of Unicode may stay."""
    if line.isprintable():
        return
    for at, char in enumerate(line):
        if not char.isprintable() and char != "\t" and unicodedata.category(char) != "Zs":
            text = f"a control character (code {ord(char)}) cannot be part of a line"
            raise ParseError(text, line=line, start=at, end=at + 1)


NEEDS_QUOTES = re.compile(r"[\s\"'|\\#]")


def quote(text: str) -> str:
    """``text`` as a line must have it to mean exactly that; line feeds alone are left to a block of lines."""
    if "\r" in text:
        return f"{_ESCAPED}{''.join(map(_escape, text))}'"
    if text and not NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escape(char: str) -> str:
    if char in "\\'":
        return f"\\{char}"
    if char.isprintable():
        return char
    return next((f"\\{name}" for name, meant in _ESCAPES.items() if meant == char), f"\\U{ord(char):08x}")

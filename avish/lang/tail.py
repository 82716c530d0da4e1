"""What stands behind a command: pipes, ``--json``, ``--api-detail``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avish.errors import ParseError
from avish.lang.lex import Lexed, Token
from avish.schema.types import shown

JSON = "--json"
API_DETAIL = "--api-detail"
FLAGS = {JSON: "The answer as one JSON document", API_DETAIL: "Tell the REST calls of this command"}
FORMS = ("json", "yaml")
LAST = ("more", "save")
"""Pipes behind which there is nothing left."""
PIPES = {
    "count": "Number of lines",
    "filter": "The same as the word filter of the command",
    "grep": "Only the lines that match; arguments as grep's",
    "json": "The answer as one JSON document",
    "more": "Page by page",
    "save": "Into a file of yours",
    "wireshark": "Into Wireshark, packet by packet; behind show debug ... capture live",
    "yaml": "The answer as one YAML document",
}


@dataclass(frozen=True, slots=True)
class Tail:
    """``commands``: the tokens of the command itself. ``form``: "json", "yaml" or "" for the usual table.

    ``pipes``: the words of each pipe that text goes through. ``extra``: where the tail begins, for error texts.
    """

    commands: tuple[Token, ...]
    pipes: list[list[str]]
    form: str = ""
    api_detail: bool = False
    extra: Token | None = None


def split(lexed: Lexed) -> Tail:
    """A line's command and its tail; ParseError marks a pipe that does not exist."""
    parts = _parts(lexed)
    commands = parts[0]
    flags = []
    while commands and commands[-1].text in FLAGS and not commands[-1].quoted:
        flags.append(commands.pop().text)
    pipes: list[list[str]] = []
    form = "json" if JSON in flags else ""
    for part in parts[1:]:
        word = part[0].text
        if word == "filter":
            commands += part
        elif word in FORMS:
            _alone(part, pipes, lexed.line)
            form = word
        else:
            _fitting(part, pipes, lexed.line)
            pipes.append([token.text for token in part])
    taken = {token.start for token in commands}
    extra = next((token for token in lexed.tokens if token.start not in taken), None)
    return Tail(tuple(commands), pipes, form, API_DETAIL in flags, extra)


def _parts(lexed: Lexed) -> list[list[Token]]:
    """The tokens between the bars."""
    parts: list[list[Token]] = [[]]
    for token in lexed.tokens:
        if token.text == "|" and not token.quoted:
            parts.append([])
        else:
            parts[-1].append(token)
    if any(not part for part in parts[1:]):
        raise ParseError("a pipe needs a command behind it: | grep WORD", line=lexed.line, start=len(lexed.line) - 1)
    for part in parts[1:]:
        if part[0].text not in PIPES:
            text, start, end = f"unknown pipe {shown(part[0].text)}", part[0].start, part[0].end
            raise ParseError(text, line=lexed.line, start=start, end=end, expected=tuple(PIPES))
    return parts


def _fitting(part: Sequence[Token], pipes: list[list[str]], line: str) -> None:
    """Whether a pipe has the arguments it needs and may stand where it stands."""
    word, behind = part[0].text, part[1:]
    start, end = (behind[0].start, behind[-1].end) if behind else (part[0].start, part[0].end)
    if pipes and pipes[-1][0] in LAST:
        raise ParseError(f"{pipes[-1][0]} has to be the last pipe", line=line, start=part[0].start, end=part[0].end)
    problem = ""
    if word == "grep":
        from avish.lang import grep  # start-up pays for every import

        try:
            grep.checked([token.text for token in behind])
        except ValueError as error:
            problem = str(error)
    elif word == "save" and len(behind) != 1:
        problem = "save needs one path: | save FILE"
    elif word != "save" and behind:
        problem = f"{word} takes no argument"
    if problem:
        raise ParseError(problem, line=line, start=start, end=end)


def _alone(part: Sequence[Token], pipes: list[list[str]], line: str) -> None:
    """``| json`` takes nothing and comes first: behind another pipe there is only text."""
    if len(part) > 1:
        raise ParseError(f"{part[0].text} takes no argument", line=line, start=part[1].start, end=part[-1].end)
    if pipes:
        text = f"{part[0].text} has to be the first pipe: behind {pipes[-1][0]} there is only text"
        raise ParseError(text, line=line, start=part[0].start, end=part[0].end)

"""TAB, ``?`` and pastes: the keys that a shell has besides those of every line editor."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from prompt_toolkit import search
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus, is_searching
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from avish.errors import ParseError
from avish.lang.complete import Suggestion
from avish.lang.lex import lex

LISTED = 100
"""Suggestions that are listed at once."""
NOTHING = "nothing is possible here: the line is already wrong or complete"
Offers = Callable[[str], Sequence[Suggestion]]
"""What may stand behind a text."""


def bindings(offers: Offers, shown: Callable[[], str], paste: Callable[[KeyPressEvent, str], None]) -> KeyBindings:
    """``shown``: prompt and line, to be repeated above a list. ``paste``: takes a paste of several lines."""
    keys = KeyBindings()

    def listed(found: Sequence[Suggestion]) -> None:
        text = f"{shown()}\n{listing(found) or NOTHING}"
        run_in_terminal(lambda: print(text, flush=True))

    @keys.add("tab")
    def _(event: KeyPressEvent) -> None:
        before = event.current_buffer.document.text_before_cursor
        found = offers(before)
        insert = inserted(before, found)
        if insert:
            event.current_buffer.insert_text(insert)
        else:
            listed(found)

    @keys.add("?")
    def _(event: KeyPressEvent) -> None:
        before = event.current_buffer.document.text_before_cursor
        if _in_quotes(before):
            event.current_buffer.insert_text("?")
        else:
            listed(offers(before))

    @keys.add("enter", filter=is_searching)
    def _(event: KeyPressEvent) -> None:
        search.accept_search()
        event.app.current_buffer.validate_and_handle()

    @keys.add(Keys.BracketedPaste, filter=has_focus(DEFAULT_BUFFER))
    def _(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        if "\n" in text:
            paste(event, text)
        else:
            event.current_buffer.insert_text(text)

    return keys


def inserted(before: str, found: Sequence[Suggestion]) -> str:
    """What TAB inserts; "" when there is a choice to be shown."""
    words = [one for one in found if one.literal]
    if not words:
        return ""
    typed = before[words[0].start :]
    if len(words) == 1 and (typed or len(found) == 1):
        text = words[0].text
        return _rest(typed, text) + ("" if text.startswith("--") and text.endswith(".") else " ")
    common = os.path.commonprefix([one.text for one in words])  # noqa: RUF071  (letters are what is meant)
    return _rest(typed, common) if typed and len(common) > len(typed) else ""


def _in_quotes(before: str) -> bool:
    try:
        return bool(lex(before, partial=True).open_quote)
    except ParseError:
        return False


def _rest(typed: str, word: str) -> str:
    """What is still to be inserted; a name that needs quotes is put between them whole."""
    return word[len(typed) :] if word.startswith(typed) else word.removeprefix('"')[len(typed) :]


def listing(found: Sequence[Suggestion]) -> str:
    """Words left, help right; of very many only the first, for nobody reads a thousand."""
    shown = found[:LISTED]
    width = min(40, max((len(one.text) for one in shown), default=0))
    lines = [f"  {one.text.ljust(width)}  {one.help}".rstrip() for one in shown]
    more = len(found) - len(shown) + getattr(found, "more", 0)
    if more:
        lines.append(f"  ... and {more} more: type the first letters")
    return "\n".join(lines)

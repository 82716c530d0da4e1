"""What was typed before, offered behind what is being typed."""

from __future__ import annotations

from itertools import islice

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document

LOOKED = 2000
"""Lines of the history that are looked through, the newest: each key waits for it."""


class FromHistory(AutoSuggest):
    """The rest of the newest line that begins like this one."""

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """None for an empty line, and where nothing fits."""
        text = document.text
        if not text.strip():
            return None
        newest = islice(reversed(buffer.history.get_strings()), LOOKED)
        found = next((line for line in newest if line.startswith(text) and "\n" not in line), None)
        return None if found is None else Suggestion(found[len(text) :])

"""What is remembered of a line that was carried out."""

from __future__ import annotations

from typing import NamedTuple

from avish.schema.model import Message


class Typed(NamedTuple):
    """The line, the messages whose modes were open then, and the block it announced."""

    frames: tuple[Message, ...]
    line: str
    block: str | None = None

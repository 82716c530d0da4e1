"""The floor for keys: a prompt_toolkit prompt whose TAB inserts a fixed word and whose ``?`` prints fixed lines.

``floor_keys.py N``: ``?`` prints N lines.
"""

from __future__ import annotations

import sys

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.key_binding import KeyBindings

TEXT = "\n".join([f"  {'word':<40}  help" for _ in range(int(sys.argv[1]) - 1)] + ["  last one"])
keys = KeyBindings()


@keys.add("tab")
def _insert(event):
    event.current_buffer.insert_text("-inserted ")


@keys.add("?")
def _list(event):
    del event
    run_in_terminal(lambda: print(TEXT, flush=True))


PromptSession(key_bindings=keys).prompt("floor> ")

"""scrapli: ``Cli(host, definition_file_or_name=definition(), ...)``.

from scrapli import AuthOptions, Cli

from avish.clients.scrapli import definition

with Cli("controller", definition_file_or_name=definition(), auth_options=AuthOptions(username="admin")) as shell:
    print(shell.send_input("show pool").result)
"""

from __future__ import annotations

from pathlib import Path

PROMPT = r"^\[[^\]\n]+\]: [\w:-]*>\s*$"
"""For older releases of scrapli: ``GenericDriver(..., comms_prompt_pattern=PROMPT)``."""


def definition() -> str:
    """The path of the definition."""
    return str(Path(__file__).with_name("avish.yaml"))

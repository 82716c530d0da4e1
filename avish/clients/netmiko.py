"""netmiko: ``ConnectHandler(device_type="avish", ...)`` once this module is imported, or ``AvishSSH(...)``.

from avish.clients.netmiko import AvishSSH

with AvishSSH(host="controller", username="admin", use_keys=True) as shell:
print(shell.send_command("show pool"))
shell.send_config_set(["configure pool web", "servers ip 10.0.0.1", "save", "save"])
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from netmiko import ConnectHandler
from netmiko.cisco_base_connection import CiscoBaseConnection
from netmiko.exceptions import ConfigInvalidException

DEVICE_TYPE = "avish"
PROMPT = r"\[[^\]\n]+\]: [\w:-]*>"
REFUSED = r"^error: .*"
"""How the plain mode begins what it says of a line it refuses."""


class AvishSSH(CiscoBaseConnection):
    """A session in the plain mode: exact echo, one prompt a command, nothing to be switched off first."""

    prompt_pattern = PROMPT

    def session_preparation(self) -> None:
        """There is a prompt, and that is all it takes."""
        self._test_channel_read(pattern=PROMPT)
        self.set_base_prompt()

    def set_base_prompt(self, *args: Any, **kwargs: Any) -> str:
        """``[admin:controller]: ``: what every prompt of the session begins with."""
        del args, kwargs
        prompt = self.find_prompt(pattern=PROMPT)
        self.base_prompt = prompt.rpartition("]:")[0] + "]:"
        return self.base_prompt

    def check_enable_mode(self, *args: Any, **kwargs: Any) -> bool:
        """There is no other mode: what one may do, the role says."""
        del args, kwargs
        return True

    def enable(self, *args: Any, **kwargs: Any) -> str:
        """Nothing to do."""
        del args, kwargs
        return ""

    def exit_enable_mode(self, *args: Any, **kwargs: Any) -> str:
        """Nothing to do."""
        del args, kwargs
        return ""

    def check_config_mode(self, *args: Any, **kwargs: Any) -> bool:
        """Whether an object is open."""
        del args, kwargs
        return not self.find_prompt(pattern=PROMPT).rstrip().endswith("]: >")

    def config_mode(self, *args: Any, **kwargs: Any) -> str:
        """Objects are opened by ``configure``: there is no mode before it."""
        del args, kwargs
        return ""

    def exit_config_mode(self, *args: Any, **kwargs: Any) -> str:
        """What was not saved is dropped, level by level."""
        del args, kwargs
        output = ""
        while self.check_config_mode():
            output += str(self.send_command("cancel", expect_string=PROMPT))
        return output

    def send_config_set(self, config_commands: Any = None, **kwargs: Any) -> str:
        """The lines of a runbook; ``error_pattern`` refuses as the shell does unless another one is given.

        When a line fails, what the lines before it opened is left without saving: the next call begins at the top.
        """
        kwargs.setdefault("error_pattern", REFUSED)
        kwargs.setdefault("cmd_verify", True)
        lines: Sequence[str] = [config_commands] if isinstance(config_commands, str) else list(config_commands or ())
        try:
            return str(super().send_config_set(lines, **kwargs))
        except ConfigInvalidException:
            self.exit_config_mode()
            raise

    def save_config(self, *args: Any, **kwargs: Any) -> str:
        """The outermost ``save`` of an object has committed it."""
        del args, kwargs
        return ""

    def cleanup(self, command: str = "exit") -> None:
        """Leave open objects, then the shell."""
        try:
            self.exit_config_mode()
        finally:
            self.write_channel(command + self.RETURN)


def register() -> None:
    """Let ``ConnectHandler`` know the device type."""
    dispatcher = importlib.import_module("netmiko.ssh_dispatcher")  # netmiko has a function of this name
    for table in (dispatcher.CLASS_MAPPER_BASE, dispatcher.CLASS_MAPPER):
        table.setdefault(DEVICE_TYPE, AvishSSH)
    if DEVICE_TYPE not in dispatcher.platforms:
        dispatcher.platforms.append(DEVICE_TYPE)


register()

__all__ = ["DEVICE_TYPE", "PROMPT", "AvishSSH", "ConnectHandler", "register"]

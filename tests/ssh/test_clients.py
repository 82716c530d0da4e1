"""The libraries that programs drive shells with, unmodified."""

from __future__ import annotations

import asyncio
import re
import time

import asyncssh
import pytest
from sshrig import PASSWORD

RUNBOOK = ["configure pool {name}", "servers ip 10.0.0.1", "save", "save"]


def runbook(name):
    return [line.format(name=name) for line in RUNBOOK]


class TestNetmiko:
    @pytest.fixture
    def where(self, controller):
        return {"host": "127.0.0.1", "port": controller.port, "username": "admin", "password": PASSWORD}

    @pytest.fixture
    def netmiko(self):
        return pytest.importorskip("netmiko")

    def test_our_class(self, netmiko, where):
        from avish.clients.netmiko import AvishSSH

        with AvishSSH(**where, device_type="avish") as shell:
            assert re.fullmatch(r"\[admin:[^\]]+\]:", shell.base_prompt)
            output = shell.send_command("show tenant")
            assert output.startswith("+---")
            assert output.rstrip().endswith("+")
            assert "\x1b" not in output
            shell.send_config_set(runbook("by-netmiko"))
            assert "10.0.0.1" in shell.send_command("show pool by-netmiko")
            with pytest.raises(netmiko.exceptions.ConfigInvalidException):
                shell.send_config_set(["configure pool other", "no-such-word"])
            assert not shell.check_config_mode()
            shell.exit_config_mode()
            assert not shell.check_config_mode()

    def test_the_device_type(self, netmiko, where):
        import avish.clients.netmiko  # noqa: F401  (this is what makes it known)

        with netmiko.ConnectHandler(device_type="avish", **where) as shell:
            assert "admin" in shell.send_command("show tenant")

    @pytest.mark.parametrize("driver", ["generic", "generic_termserver", "cisco_ios"])
    def test_their_own_drivers(self, netmiko, where, driver):
        with netmiko.ConnectHandler(device_type=driver, **where) as shell:
            assert "| admin | admin |" in shell.send_command("show tenant")
            lines = runbook(f"by-{driver.replace('_', '-')}")
            shell.send_config_set(lines, enter_config_mode=False, exit_config_mode=False)
            assert f"by-{driver.replace('_', '-')}" in shell.send_command("show pool")

    def test_a_command_costs_what_the_library_costs(self, netmiko, where):
        with netmiko.ConnectHandler(device_type="generic", **where) as shell:
            shell.send_command("show tenant")
            began = time.monotonic()
            for _ in range(5):
                shell.send_command("show tenant")
            assert (time.monotonic() - began) / 5 < 0.5


class TestScrapli:
    def test_with_our_definition(self, controller):
        scrapli = pytest.importorskip("scrapli")
        if not hasattr(scrapli, "Cli"):
            pytest.skip("an older scrapli")
        from scrapli import AuthOptions, Cli
        from scrapli.transport import Ssh2Options

        from avish.clients.scrapli import definition

        auth = AuthOptions(username="admin", password=PASSWORD)
        with Cli(
            "127.0.0.1", port=controller.port, definition_file_or_name=definition(), auth_options=auth,
            transport_options=Ssh2Options(),
        ) as shell:  # fmt: skip
            answer = shell.send_input("show tenant")
            assert answer.result.startswith("+---")
            assert not answer.failed
            for line in runbook("by-scrapli"):
                shell.send_input(line)
            assert "10.0.0.1" in shell.send_input("show pool by-scrapli").result
            assert shell.send_input("nonsense").failed

    def test_the_pattern_for_older_ones(self):
        from avish.clients.scrapli import PROMPT

        for prompt in ("[admin:ctrl]: > ", "[admin:10-1-1-1]: pool:servers> ", "[*:c]: >"):
            assert re.search(PROMPT, prompt)


class TestAsyncssh:
    def test_many_at_once(self, controller):
        async def one(number):
            options = {"username": "admin", "client_keys": [str(controller.key)], "known_hosts": None}
            async with asyncssh.connect("127.0.0.1", controller.port, **options) as connection:
                done = await connection.run("show tenant")
                assert done.exit_status == 0, (number, done.stderr)
                async with connection.create_process(term_type="vt100", term_size=(511, 1000)) as process:
                    text = await process.stdout.readuntil("> ")
                    process.stdin.write("show tenant\r")
                    text += await process.stdout.readuntil("> ")
                    assert "show tenant\r\n+---" in text
                    process.stdin.write("exit\r")
                    await process.wait()
                    assert process.exit_status == 0

        async def all_of_them():
            await asyncio.gather(*(one(number) for number in range(12)))

        asyncio.run(all_of_them())

    def test_several_sessions_of_one_connection(self, controller):
        async def run():
            options = {"username": "admin", "client_keys": [str(controller.key)], "known_hosts": None}
            async with asyncssh.connect("127.0.0.1", controller.port, **options) as connection:
                found = await asyncio.gather(*(connection.run("show tenant --json") for _ in range(5)))
                assert [one.exit_status for one in found] == [0] * 5

        asyncio.run(run())

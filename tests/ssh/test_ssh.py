"""The SSH front with OpenSSH's own programs, and with strangers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import asyncssh
import pexpect
import pyte
import pytest
from httpsrig import Web
from sshrig import BIN, OPTIONS, PASSWORD, run

RUNBOOK = "configure pool from-a-script\ndescription x\nsave\nshow pool from-a-script | grep description\n"


class TestCommands:
    def test_a_command_and_its_exit_status(self, controller):
        done = controller.ssh("show tenant")
        assert (done.returncode, done.stderr) == (0, "")
        assert "| admin | admin |" in done.stdout
        assert "\x1b" not in done.stdout

    def test_an_error_goes_to_standard_error(self, controller):
        done = controller.ssh("show nothing-such")
        assert (done.returncode, done.stdout) == (2, "")
        assert "unknown word 'nothing-such'" in done.stderr
        assert controller.ssh("show pool nobody").returncode == 1

    def test_json(self, controller):
        assert json.loads(controller.ssh("show tenant --json").stdout)["results"][0]["name"] == "admin"

    def test_several_lines(self, controller):
        done = controller.ssh("show tenant; show nothing; show cloud")
        assert done.returncode == 2
        assert "admin" in done.stdout
        assert "Default-Cloud" not in done.stdout


class TestScripts:
    def test_without_a_terminal(self, controller):
        done = controller.ssh(options=["-T"], stdin=RUNBOOK)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"description +\| x", done.stdout)

    def test_it_stops_at_the_first_error(self, controller):
        done = controller.ssh(options=["-T"], stdin="show tenant\nnonsense\nshow cloud\n")
        assert done.returncode == 2
        assert "line 2: unknown word 'nonsense'" in done.stderr
        assert "Default-Cloud" not in done.stdout

    def test_through_a_terminal_that_nobody_looks_at(self, controller):
        done = controller.ssh(options=["-tt"], stdin=RUNBOOK.replace("from-a-script", "from-tt"))
        assert done.returncode == 0, done.stdout
        assert "]: > configure pool from-tt\n" in done.stdout
        assert re.search(r"description +\| x", done.stdout)
        assert controller.ssh(options=["-tt"], stdin="nonsense\n").returncode == 2

    def test_unsaved_changes_are_told(self, controller):
        done = controller.ssh(options=["-T"], stdin="configure pool half\n")
        assert done.returncode == 2
        assert "nothing of pool half was saved" in done.stderr


class TestPlain:
    @pytest.mark.parametrize("how", [["-o", "SetEnv=AVISH_MODE=plain"], []])
    def test_a_prompt_and_no_escapes(self, controller, how):
        user = "admin" if how else "admin+plain"
        command = [
            "ssh",
            *OPTIONS,
            "-i",
            str(controller.key),
            "-p",
            str(controller.port),
            "-tt",
            *how,
            f"{user}@127.0.0.1",
        ]
        child = pexpect.spawn(
            command[0], command[1:], timeout=20, encoding="utf-8", env={**os.environ, "TERM": "xterm"}
        )
        child.delaybeforesend = None
        child.expect(r"\[admin:[^\]]+\]: > ")
        child.send("show tena\t")
        child.expect_exact("show tenant ")
        child.send("| grep admin\r")
        child.expect(r"\| admin \| admin \|\r\n\[admin:[^\]]+\]: > ")
        child.send("show ?")
        child.expect("virtualservice +")
        child.expect(r"\]: > show ")
        child.send("\x15exit\r")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0

    def test_a_dumb_terminal(self, controller):
        command = ["ssh", *OPTIONS, "-i", str(controller.key), "-p", str(controller.port), "-tt", "admin@127.0.0.1"]
        child = pexpect.spawn(command[0], command[1:], timeout=20, encoding="utf-8", env={**os.environ, "TERM": "dumb"})
        child.expect(r"\]: > ")
        child.send("exit\r")
        child.expect(pexpect.EOF)
        assert "\x1b" not in (child.before or "")

    def test_ctrl_c_drops_the_line_and_the_session_goes_on(self, controller):
        done = controller.ssh(
            user="admin+plain", options=["-tt"], stdin="show tenant\x03where\nconfigure pool c\n\x03\x03cancel\nexit\n"
        )
        assert done.returncode == 0
        assert "]: > show tenant^C" in done.stdout
        assert "]: > where" in done.stdout
        assert "| admin |" not in done.stdout


class Screen:
    """A terminal with somebody in front of it: it answers where its cursor is."""

    def __init__(self, controller, user="admin", **more):
        command = ["-i", str(controller.key), "-p", str(controller.port), f"{user}@127.0.0.1"]
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.child = pexpect.spawn(
            "ssh", [*OPTIONS, *command], timeout=10, dimensions=(30, 100), env=environment, **more
        )
        self.child.delaybeforesend = None
        self.screen = pyte.Screen(100, 30)
        self.stream = pyte.ByteStream(self.screen)
        self.screen.write_process_input = self.child.send

    def until(self, pattern, seconds=15):
        until = time.monotonic() + seconds
        while not re.search(pattern, self.text()):
            assert time.monotonic() < until, self.text()
            self.read()
        return self.text()

    def read(self):
        try:
            self.stream.feed(self.child.read_nonblocking(65536, 0.05))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def end(self):
        until = time.monotonic() + 15
        while self.read():
            assert time.monotonic() < until
        self.child.close()
        return self.child.exitstatus


class TestPeople:
    def test_completion_help_resize_and_leaving(self, controller):
        person = Screen(controller)
        person.until(r"\[admin:[^\]]+\]: >")
        person.child.send("show ten\t")
        person.until(r"> show tenant")
        person.child.send("\r")
        person.until(r"\| admin \| admin")
        person.child.setwinsize(40, 132)
        person.screen.resize(40, 132)
        person.child.send("configure ?")
        person.until("healthmonitor")
        person.child.send("\x15exit\r")
        assert person.end() == 0

    def test_who_hangs_up_leaves_no_process(self, controller):
        person = Screen(controller)
        person.until(r"\[admin:[^\]]+\]: >")
        pid = controller.front_pid()
        children = lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        zygote = children()[0]
        shells = lambda: Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
        assert len(shells()) == 1
        person.child.close(force=True)
        until = time.monotonic() + 10
        while shells():
            assert time.monotonic() < until


class Greeted(asyncssh.SSHClient):
    """Keeps the banner."""

    banner = ""

    def auth_banner_received(self, msg, lang):
        self.banner += msg


class TestWords:
    """What those who come in are told, and how many of one user may be in."""

    def test_banner_and_message_of_the_day(self, controller):
        controller.local("configure systemconfiguration", "linux_configuration", 'banner "Keep out"', 'motd "Be kind"', "save", "save")  # fmt: skip

        async def banner():
            options = {"username": "admin", "client_keys": [str(controller.key)], "known_hosts": None}
            connection, client = await asyncssh.create_connection(Greeted, "127.0.0.1", controller.port, **options)
            connection.close()
            return client.banner

        until = time.monotonic() + 10
        while asyncio.run(banner()) != "Keep out\r\n":  # no restart: the front hears of it
            assert time.monotonic() < until
        person = Screen(controller)
        assert "Be kind" in person.until(r"\[admin:[^\]]+\]: >")
        person.child.send("exit\r")
        assert person.end() == 0
        assert "Be kind" not in controller.ssh("show tenant").stdout

    def test_so_many_sessions_as_the_profile_says(self, controller):
        controller.local("configure useraccountprofile one", "max_concurrent_sessions 1", "save")
        controller.local("configure user solo", "is_superuser", "user_profile_ref one", "save")
        controller.avishd("key", "solo", f"{controller.key}.pub")

        async def run():
            options = {"username": "solo", "client_keys": [str(controller.key)], "known_hosts": None}
            async with asyncssh.connect("127.0.0.1", controller.port, **options) as first:
                assert (await first.run("show tenant")).exit_status == 0
                async with asyncssh.connect("127.0.0.1", controller.port, **options) as second:
                    refused = await second.run("show tenant")
                assert (await first.run("show tenant")).exit_status == 0
            return refused

        refused = asyncio.run(run())
        assert refused.exit_status == 69
        assert "does not let this session in" in refused.stderr
        until = time.monotonic() + 20
        while controller.ssh("show tenant", user="solo").returncode:  # the first has gone
            assert time.monotonic() < until


class TestFiles:
    def test_captures_and_exports_are_fetched(self, controller, tmp_path):
        data = os.urandom(3_000_000)
        (controller.home / "captures" / "a.pcapng").write_bytes(data)
        for more in ([], ["-O"]):
            done = controller.fetch("scp", *more, "admin@127.0.0.1:captures/a.pcapng", str(tmp_path / "a"))
            assert done.returncode == 0, done.stderr
            assert (tmp_path / "a").read_bytes() == data

    @pytest.mark.parametrize("path", ["/etc/hostname", "../../etc/hostname", "captures/../../../etc/hostname", "captures/link",
                                      "avish.db", "keys/https.key", "captures/.hidden"])  # fmt: skip
    def test_nothing_else_is(self, controller, tmp_path, path):
        (controller.home / "captures" / ".hidden").write_text("secret")
        link = controller.home / "captures" / "link"
        link.unlink(missing_ok=True)
        link.symlink_to("/etc/hostname")
        done = controller.fetch("scp", f"admin@127.0.0.1:{path}", str(tmp_path / "x"))
        assert done.returncode != 0
        assert not (tmp_path / "x").exists()

    def test_nothing_is_written(self, controller, tmp_path):
        (tmp_path / "x").write_text("x")
        (controller.home / "captures" / "kept").write_text("kept")
        for more in ([], ["-O"]):
            assert controller.fetch("scp", *more, str(tmp_path / "x"), "admin@127.0.0.1:captures/x").returncode != 0
        batch = tmp_path / "batch"
        for line in ("rm captures/kept", "rename captures/kept captures/y", "mkdir captures/z", "symlink /etc captures/e",
                     "chmod 777 captures/kept", "put x exports/x"):  # fmt: skip
            batch.write_text(f"-lcd {tmp_path}\n{line}\n")
            assert controller.fetch("sftp", "-b", str(batch), "admin@127.0.0.1").returncode != 0, line
        assert (controller.home / "captures" / "kept").read_text() == "kept"

    def test_a_listing(self, controller, tmp_path):
        (tmp_path / "batch").write_text("ls -1 /\nls -1 captures\n")
        done = controller.fetch("sftp", "-b", str(tmp_path / "batch"), "admin@127.0.0.1")
        assert done.returncode == 0, done.stderr
        assert "/captures" in done.stdout
        assert "captures/link" not in done.stdout


class TestStrangers:
    def test_a_wrong_key_an_empty_and_a_wrong_password(self, controller, tmp_path):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True)
        batch = ["-o", "BatchMode=yes"]
        for user in ("admin", "root", "nobody"):
            done = controller.ssh("show tenant", user=user, key=tmp_path / "k", options=batch)
            assert (done.returncode, done.stdout) == (255, ""), user

        async def attempt(password):
            options = {"username": "admin", "password": password, "known_hosts": None, "client_keys": None}
            async with asyncssh.connect("127.0.0.1", controller.port, **options):
                return True

        for password in ("", "wrong"):
            with pytest.raises(asyncssh.PermissionDenied):
                asyncio.run(attempt(password))
        assert asyncio.run(attempt(PASSWORD))

    def test_nothing_is_forwarded(self, controller):
        done = controller.ssh(options=["-W", "127.0.0.1:22"])
        assert done.returncode != 0
        done = controller.ssh("show tenant", options=["-R", "0:127.0.0.1:22", "-o", "ExitOnForwardFailure=yes"])
        assert done.returncode == 255
        done = controller.ssh("show tenant", options=["-A", "-X"])
        assert done.returncode == 0

    def test_a_flood_of_those_who_never_log_in(self, controller):
        strangers = [socket.create_connection(("127.0.0.1", controller.port), timeout=10) for _ in range(60)]
        try:
            assert controller.ssh("show tenant").returncode == 0
            for one in strangers:
                with contextlib.suppress(ConnectionError):
                    while one.recv(100):  # until it is hung up, sooner than its time is over
                        pass
        finally:
            for one in strangers:
                one.close()

    def test_the_front_has_no_rights_and_is_started_again(self, controller):
        pid = controller.front_pid()
        status = Path(f"/proc/{pid}/status").read_text()
        if os.geteuid() == 0:
            assert re.search(r"Uid:\t(\d+)", status)[1] != "0"
            assert re.search(r"CapEff:\t(\w+)", status)[1].strip("0") == ""
        assert "NoNewPrivs:\t1" in status
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 30
        while controller.ssh("show tenant", options=["-o", "ConnectTimeout=5"]).returncode:
            assert time.monotonic() < until

    def test_the_host_keys_are_for_their_owner_only(self, controller):
        for path in (controller.home / "keys").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


class TestRights:
    def test_somebody_is_who_he_is_and_may_what_his_role_allows(self, controller):
        controller.local("configure user olga", "access role_ref Application-Operator all_tenants", "save", "save")
        controller.avishd("key", "olga", f"{controller.key}.pub")
        assert "Default-Cloud" in controller.ssh("show cloud", user="olga").stdout
        refused = controller.ssh(user="olga", options=["-T"], stdin="configure pool olgas\nsave\n")
        assert refused.returncode == 1
        assert "WRITE_ACCESS of PERMISSION_POOL" in refused.stderr
        log = [json.loads(line) for line in (controller.home / "log" / "audit.jsonl").read_text().splitlines()]
        mine = [one for one in log if one["user"] == "olga"]
        assert {"login", "refused", "logout"} <= {one["event"] for one in mine}
        assert {one["source"] for one in mine} == {"ssh 127.0.0.1"}
        assert "sound" in controller.avishd("check") or "consistent" in controller.avishd("check")

    def test_completion_offers_what_is_allowed(self, controller):
        controller.local("configure user otto", "access role_ref Application-Operator all_tenants", "save", "save")
        controller.avishd("key", "otto", f"{controller.key}.pub")
        shown = controller.ssh(
            user="otto", options=["-tt", "-o", "SetEnv=AVISH_MODE=plain"], stdin="?show ?\x15configure ?\x15exit\n"
        )
        begun, rest = shown.stdout.split("show ?")
        seen, changed = rest.split("configure ?")
        assert re.search(r"^  commit ", begun, re.MULTILINE)
        assert not re.search(r"^  (rollback|import) ", begun, re.MULTILINE)
        assert not re.search(r"^  (audit|commits|tech-support) ", seen, re.MULTILINE)
        assert re.search(r"^  pool ", seen, re.MULTILINE)
        assert not re.search(r"^  (role|user|systemconfiguration) ", seen, re.MULTILINE)
        assert not re.search(r"^  (pool|virtualservice) ", changed, re.MULTILINE)

    def test_files_of_the_machine_are_out_of_reach(self, controller):
        done = controller.ssh("copy file source /etc/hostname destination /tmp/avish-must-not")
        assert done.returncode == 1
        assert "no files here" in done.stderr

    def test_a_tenant_that_is_not_there(self, controller):
        done = run([BIN / "avish", "--home", controller.home, "--tenant", "nowhere", "-c", "show pool"])
        assert (done.returncode, done.stdout) == (1, "")
        assert "Tenant object nowhere not found" in done.stderr


class TestOverTheNetwork:
    """``avish --address``."""

    @pytest.fixture
    def avish(self, controller, tmp_path):
        port = controller.listens["https"].split()[-1]

        def avish(*words, password=PASSWORD, stdin=""):
            given = ["--address", "127.0.0.1", "--port", port, "--user", "admin", "--password", password]
            return run(
                [BIN / "avish", *given, *words], input=stdin, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
            )

        return avish

    def test_a_runbook_and_the_certificate_of_the_first_time(self, avish, tmp_path):
        done = avish("--json", stdin="configure pool from-afar\nsave\nshow pool from-afar\n")
        assert done.returncode == 0, done.stderr
        assert "certificate of 127.0.0.1" in done.stderr
        again = avish("-c", "show pool from-afar | grep name")
        assert (again.returncode, again.stderr) == (0, "")
        pins = tmp_path / "avish" / "known_controllers"
        place, seen = pins.read_text().split()
        pins.write_text(f"{place} {'0' * len(seen)}\n")
        refused = avish("-c", "show pool")
        assert (refused.returncode, "another certificate" in refused.stderr) == (69, True)

    def test_a_token_in_place_of_the_password(self, controller, avish, tmp_path):
        web = Web(int(controller.listens["https"].split()[-1]))
        assert web.log_in()[0] == 200
        status, _, made = web.ask("POST", "/api/user-token", {"hours": 1})
        assert status == 201
        words = ["--address", "127.0.0.1", "--port", controller.listens["https"].split()[-1], "--user", "admin"]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        done = run([BIN / "avish", *words, "--token", made["token"], "-c", "show tenant"], env=environment)
        assert (done.returncode, "| admin | admin |" in done.stdout) == (0, True), done.stderr
        done = run([BIN / "avish", *words, "--token", "x" * 40, "-c", "show tenant"], env=environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Invalid credentials" in done.stderr

    def test_what_is_refused(self, avish):
        done = avish("-c", "show pool", password="wrong")
        assert (done.returncode, "Invalid credentials" in done.stderr) == (1, True)
        done = run([BIN / "avish", "--address", "127.0.0.1:1", "--password", "x", "-c", "show pool"])
        assert done.returncode == 69
        assert "no controller answers at 127.0.0.1:1" in done.stderr


class TestAccounts:
    def test_the_own_password_is_changed_and_the_audit_shows_it(self, controller):
        controller.local("configure user pia", "is_superuser", "save")
        controller.avishd("passwd", "pia", stdin="First-word-1\n")

        def lines(password, *given):
            words = ["--address", "127.0.0.1", "--port", controller.listens["https"].split()[-1]]
            words += ["--user", "pia", "--password", password]
            return run([BIN / "avish", *words], input="".join(f"{line}\n" for line in given))

        assert "is wrong" in lines("First-word-1", "passwd", "no", "Second-word-2").stderr
        assert lines("First-word-1", "passwd", "First-word-1", "Second-word-2").returncode == 0
        assert lines("First-word-1", "show tenant").returncode == 1
        done = lines("Second-word-2", "show audit filter user pia | grep password")
        assert "password changed" in done.stdout, done.stderr
        assert "Second-word-2" not in (controller.home / "log" / "audit.jsonl").read_text()

    def test_root_is_warned_of_a_weak_password_and_an_empty_one_is_none(self, controller):
        controller.local("configure user weak", "is_superuser", "save")
        done = run([BIN / "avishd", "passwd", "weak", "--home", controller.home], input="short\n")
        assert (done.returncode, "at least 8 characters" in done.stderr) == (0, True)
        assert run([BIN / "avishd", "passwd", "weak", "--home", controller.home], input="\n").returncode == 1
        assert run([BIN / "avishd", "passwd", "nobody-here", "--home", controller.home], input="x\n").returncode == 1


class TestForceCommand:
    """OpenSSH's server in place of ours: it leaves what was asked for in the environment."""

    def test_a_command_and_a_script(self, controller):
        command = [BIN / "avish", "--home", controller.home]
        asked = {**os.environ, "SSH_ORIGINAL_COMMAND": "show tenant"}
        done = run(command, env=asked, stdin=subprocess.DEVNULL)
        assert (done.returncode, "| admin | admin |" in done.stdout) == (0, True)
        assert run(command, env={**asked, "SSH_ORIGINAL_COMMAND": "nonsense"}, stdin=subprocess.DEVNULL).returncode == 2
        assert "admin" in run(command, input="show tenant\n").stdout

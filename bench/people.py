"""What people and their tools feel while others are busy: at SSH, at REST, through netmiko and scrapli.

Run by itself it prints its figures only.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures import p95
from network import HUMAN, PASSWORD, SESSIONS, Controller, _connected, _least, _reads
from transactions import requests_of

from avish.api.client import Client

BACKGROUND, PER_SECOND, SECONDS = 30, 300, 10.0
TYPED = 40
PATIENCE = 30.0
SERVICES = 10_000
TOOL_COMMANDS = 25
TEXT = "show pool bench"
PROMPT = "[admin:controller]: > "


class Person:
    """A full terminal over SSH, as somebody sees it: the cursor's place is told when it is asked for."""

    def __init__(self, process):
        self.process, self.seen = process, b""

    @classmethod
    async def at(cls, connection):
        process = await connection.create_process(term_type="xterm", term_size=(100, 30), encoding=None)
        person = cls(process)
        await person.until(rb"\]: ")
        return person

    async def until(self, what):
        """Read on until something is painted: a regular expression."""
        self.seen = b""
        while not re.search(what, self.seen, re.DOTALL):
            data = await asyncio.wait_for(self.process.stdout.read(65536), PATIENCE)
            if not data:
                raise AssertionError(self.seen)
            self.seen += data
            for _ in range(data.count(b"\x1b[6n")):
                self.process.stdin.write(b"\x1b[1;1R")

    async def command(self, line):
        """Seconds from the line to the next prompt behind the answer."""
        began = time.perf_counter()
        self.process.stdin.write(line.encode() + b"\r")
        await self.until(rb"default_server_port.*\]: ")
        return time.perf_counter() - began


class _Where:
    """What ``_connected`` needs, in another process."""

    def __init__(self, key, port):
        self.key, self._port = key, port

    def port(self, _):
        return self._port


def _background(key, port, ready, ended, done):
    """Plain sessions that ask for an object, so many times a second together."""
    asyncio.run(_busy(_Where(key, port), ready, ended, done))


async def _busy(where, ready, ended, done):
    connection = await _connected(where)
    sessions = [await connection.create_process(term_type="dumb") for _ in range(BACKGROUND)]
    for session in sessions:
        await session.stdout.readuntil("> ")
    ready.set()
    began = time.perf_counter()

    async def work(number, session):
        count, each = 0, BACKGROUND / PER_SECOND
        while not ended.is_set():
            await asyncio.sleep(max(began + each * (count + number / BACKGROUND) - time.perf_counter(), 0))
            session.stdin.write(TEXT + "\r")
            await session.stdout.readuntil("\n[admin")
            await session.stdout.readuntil("> ")
            count += 1
        return count

    counts = await asyncio.gather(*(work(number, session) for number, session in enumerate(sessions)))
    done.put(sum(counts) / (time.perf_counter() - began))
    connection.close()


def beside(controller):
    """(milliseconds of each command of a person, commands a second of the others meanwhile)."""
    spawn = multiprocessing.get_context("spawn")
    ready, ended, done = spawn.Event(), spawn.Event(), spawn.Queue()
    others = spawn.Process(target=_background, args=(controller.key, controller.port("ssh"), ready, ended, done))
    others.start()
    ready.wait(60)
    try:
        took = asyncio.run(_typed(controller))
    finally:
        ended.set()
    rate = done.get(timeout=60)
    others.join(60)
    return took, rate


async def _typed(controller):
    connection = await _connected(controller, **HUMAN)
    person = await Person.at(connection)
    person.process.stdin.write(b"terminal length 0\r")  # no pages
    await person.until(rb"\n.*\]: ")
    took = []
    for _ in range(TYPED + 2):
        took.append(await person.command(TEXT) * 1000)
        await asyncio.sleep(SECONDS / TYPED)
    connection.close()
    return took[2:]


async def people(controller):
    """Megabytes of the front and all it started while so many people have their terminals open.

    Pages that processes share are counted once (PSS).
    """
    gate = asyncio.Semaphore(8)

    async def one():
        async with gate:
            connection = await _connected(controller, **HUMAN)
            return connection, await Person.at(connection)

    found = await asyncio.gather(*(one() for _ in range(SESSIONS)))
    front = list(_below(controller.process.pid))
    if len(front) < SESSIONS:
        raise AssertionError(f"{len(front)} processes for {SESSIONS} people")
    weight = sum(_proportional(pid) for pid in front)
    for connection, _ in found:
        connection.close()
    return weight


def _below(pid):
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from _below(child)


def _proportional(pid):
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024


def while_importing(controller, web):
    """(milliseconds of reads while an import of many services runs, seconds of the import)."""
    over, took = threading.Event(), []

    def reading():
        while not over.is_set():
            took.extend(_reads(controller.port("https"), "/api/tenant/admin", web.headers["Cookie"]))

    kinds = {"vsvip": "VsVip", "pool": "Pool", "virtualservice": "VirtualService"}
    body = {name: [] for name in kinds.values()}
    for number in range(SERVICES):
        for request in requests_of(number):
            body[kinds[request["path"].rpartition("/")[2]]].append(request["body"])
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(reading)
        began = time.perf_counter()
        answer = Client(controller.home).call("POST", "/api/configuration/import", body=body)
        seconds = time.perf_counter() - began
        over.set()
        reader.result()
    if answer.status >= 300:
        raise AssertionError(answer.body)
    return [one * 1000 for one in took], seconds


class Echo(threading.Thread):
    """A shell that costs nothing: it echoes, says a line and prompts."""

    def __init__(self):
        super().__init__(daemon=True)
        self.loop, self.ready = asyncio.new_event_loop(), threading.Event()

    def run(self):
        self.loop.run_until_complete(self._listen())
        self.ready.set()
        self.loop.run_forever()

    async def _listen(self):
        import asyncssh

        class Door(asyncssh.SSHServer):
            def begin_auth(self, _):
                return False

        async def shell(process):
            process.stdout.write(PROMPT)
            line = ""
            while (data := await process.stdin.read(4096)) and not process.is_closing():
                for char in data:
                    if char == "\n" and not line:
                        process.stdout.write("\r\n" + PROMPT)
                    elif char in "\r\n":
                        process.stdout.write("\r\n| description | x |\r\n" + PROMPT)
                        line = ""
                    else:
                        line += char
                        process.stdout.write(char)

        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Door, server_host_keys=[key], process_factory=shell, line_editor=False
        )
        self.port = server.get_port()


def _netmiko(port):
    from netmiko import ConnectHandler

    import avish.clients.netmiko  # noqa: F401  (it makes the device type known)

    access = {"host": "127.0.0.1", "port": port, "username": "admin", "password": PASSWORD}
    with ConnectHandler(device_type="avish", **access) as shell:
        return _medians(lambda: shell.send_command(TEXT))


def _scrapli(port):
    from scrapli import AuthOptions, Cli

    from avish.clients.scrapli import definition

    auth = AuthOptions(username="admin", password=PASSWORD)
    with Cli("127.0.0.1", port=port, definition_file_or_name=definition(), auth_options=auth) as shell:
        return _medians(lambda: shell.send_input(TEXT))


def _medians(command):
    took = []
    for _ in range(TOOL_COMMANDS):
        began = time.perf_counter()
        command()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[2:])


def figures(bin_dir):
    """All of them."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    from httpsrig import Web

    with Controller(bin_dir) as controller:
        web = Web(controller.port("https"))
        web.log_in(password=PASSWORD)
        web.ask("POST", "/api/pool", {"name": "bench"})
        took, rate = beside(controller)
        yield _least(f"ssh: a person's command beside {rate:.0f} others/s, p95", p95(took), 100, "ms")
        echo = Echo()
        echo.start()
        echo.ready.wait(60)
        for name, tool in (("netmiko", _netmiko), ("scrapli", _scrapli)):
            more = tool(controller.port("ssh")) - tool(echo.port)
            yield _least(f"ssh: {name}, a command beyond what it costs by itself", more, 20, "ms")
        yield _least(f"ssh: front with {SESSIONS} people at terminals", asyncio.run(people(controller)), 350, "MB")
        reads, seconds = while_importing(controller, web)
        text = f"rest: a read during an import of {SERVICES:,} services ({seconds:.1f} s), p99"
        yield _least(text, sorted(reads)[int(len(reads) * 0.99)], 50, "ms")


if __name__ == "__main__":
    for figure in figures(Path(sys.executable).parent):
        print(
            f"{figure.name}: {figure.value:,.1f} {figure.unit} ({figure.target}: {'met' if figure.met else 'MISSED'})"
        )

"""What runs in a session: one command, a script, a plain shell for a machine, or a shell for a person."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh

from avish.api.client import Client
from avish.api.reach import SessionReach
from avish.errors import AvishError
from avish.lang.tree import Tree
from avish.schema.load import schema
from avish.server.sshlogin import SOCKET, Known, Settings, known_of
from avish.server.zygote import Zygote, resize
from avish.shell.files import confine

CURSOR = re.compile(rb"\x1b\[\d+;\d+R")
QUERY = b"\x1b[6n"
MACHINES = re.compile(r"paramiko|AsyncSSH|libssh|^SSH-2.0-Go|russh|JSCH|Twisted", re.IGNORECASE)
"""Clients that no person types into."""
WIDE = 400
WARNING_SECONDS = 60.0
CHUNK = 65_536
EXIT_AWAY, EXIT_BUG = 69, 70
Write = Callable[[bytes], Any]


class Sessions:
    """All of a process."""

    def __init__(self, settings: Settings, zygote: Zygote) -> None:
        self._settings, self._zygote = settings, zygote
        self._tree = Tree(schema())
        self._open: set[Any] = set()
        self._users: Counter[str] = Counter()

    async def handle(self, process: Any) -> None:
        """One session, from its begin to its exit status."""
        status = EXIT_BUG
        known = await known_of(process.get_extra_info("connection"), None)
        try:
            if known is None:
                process.stderr.write(b"the controller does not let this session in\r\n")
                status = EXIT_AWAY
            elif self._full(known.user):
                process.stderr.write(b"too many sessions\r\n")
                status = EXIT_AWAY
            else:
                status = await self._counted(process, known)
        except (BrokenPipeError, ConnectionError, asyncssh.BreakReceived, asyncssh.SignalReceived):
            status = 130
        finally:
            with contextlib.suppress(OSError, asyncssh.Error):
                process.exit(status)

    def _full(self, user: str) -> bool:
        return len(self._open) >= self._settings.sessions or self._users[user] >= self._settings.sessions_of_user

    async def _counted(self, process: Any, known: Known) -> int:
        self._open.add(process)
        self._users[known.user] += 1
        try:
            return await Session(self._settings, self._zygote, self._tree, process, known).run()
        finally:
            self._open.discard(process)
            self._users[known.user] -= 1

    def end_all(self) -> None:
        """The process goes."""
        for process in list(self._open):
            process.close()


class Session:
    """One of them. Work that waits is done in a thread of its own."""

    def __init__(self, settings: Settings, zygote: Zygote, tree: Tree, process: Any, known: Known) -> None:
        self._settings, self._zygote, self._tree = settings, zygote, tree
        self._process, self._known = process, known
        self._loop = asyncio.get_running_loop()
        self._touched = time.monotonic()
        self._thread: threading.Thread | None = None

    async def run(self) -> int:
        """The exit status."""
        process, terminal = self._process, self._process.get_terminal_type()
        wanted = self._known.mode or process.env.get("AVISH_MODE", "")
        watch = asyncio.create_task(self._watch())
        try:
            if process.command is not None:
                return await self._batch(process.command)
            if terminal is None or wanted == "batch":
                return await self._batch(None)
            if wanted == "terminal":
                return await self._person(b"")
            if wanted == "plain" or self._is_machine(terminal):
                return await self._machine(b"")
            answered, typed, ended = await self._probe()
            return await self._person(typed) if answered else await self._machine(typed, ended=ended)
        finally:
            watch.cancel()

    def _is_machine(self, terminal: str) -> bool:
        width, *_ = self._process.get_terminal_size()
        banner = str(self._process.get_extra_info("client_version") or "")
        return terminal in ("", "dumb", "unknown") or width >= WIDE or bool(MACHINES.search(banner))

    async def _probe(self) -> tuple[bool, bytes, bool]:
        """Ask the terminal where its cursor is: only one that a person looks at answers. What was typed is kept."""
        self._process.stdout.write(QUERY)
        typed, until = b"", self._loop.time() + self._settings.probe_seconds
        while not CURSOR.search(typed):
            left = until - self._loop.time()
            if left <= 0:
                return False, typed, False
            try:
                data = await asyncio.wait_for(self._read(), left)
            except TimeoutError:
                return False, typed, False
            if not data:
                return False, typed, True
            typed += data
        return True, CURSOR.sub(b"", typed), False

    async def _read(self) -> bytes:
        """What comes next; b"" at the end. A new size of the terminal is passed over here."""
        while True:
            try:
                data = await self._process.stdin.read(CHUNK)
            except asyncssh.TerminalSizeChanged:
                continue
            except asyncssh.BreakReceived:
                data = b"\x03"
            except asyncssh.SignalReceived as signal:
                data = b"\x03" if signal.signal == "INT" else b""
            self._touched = time.monotonic()
            return bytes(data)

    async def _watch(self) -> None:
        """Nobody there for so long: warn, then hang up. How long that is may change meanwhile."""
        warned = False
        while True:
            idle = self._settings.idle_seconds
            last, left = min(WARNING_SECONDS, idle / 4), self._touched + idle - time.monotonic()
            if idle and left <= 0:
                self._process.channel.close()
                return
            if idle and left <= last and not warned:
                text = f"\r\nnothing typed for long: this session ends in {left:.0f} s\r\n"
                self._process.stderr.write(text.encode())
            warned = bool(idle) and left <= last
            await asyncio.sleep(min(1.0, max(left if warned else left - last, 0.01)) if idle else 1.0)

    # --- for machines

    def _client(self) -> Client:
        return Client(SessionReach(SOCKET, self._known.session, Path("/tmp")))  # noqa: S108  (where bugs are noted)

    async def _send(self, stream: Any, data: bytes) -> None:
        stream.write(data)
        await stream.drain()

    def _write(self, stream: Any, data: bytes) -> None:
        """From another thread, as fast as the other side takes it. BrokenPipeError when it has gone."""
        if self._process.channel.is_closing():
            raise BrokenPipeError
        asyncio.run_coroutine_threadsafe(self._send(stream, data), self._loop).result()

    async def _machine(self, typed: bytes, *, ended: bool = False) -> int:
        """A plain shell."""
        from avish.shell.names import Names
        from avish.shell.plain import Plain
        from avish.shell.session import Session as ShellSession

        client = self._client()
        client.work_in(self._known.tenant)
        session = ShellSession(self._tree, self._settings.host, tenant=self._known.tenant, interactive=True)
        plain = Plain(
            self._tree, session, client, lambda text: self._write(self._process.stdout, text.encode()), Names(client)
        )
        if typed:
            plain.feed(typed)
        if ended:
            plain.hang_up()

        def work() -> int:
            confine(client)
            return plain.run()

        return await self._in_thread(work, plain.feed, plain.hang_up, ended=ended)

    async def _batch(self, command: bytes | str | None) -> int:
        """Lines without prompts: of the command, or of what comes in."""
        from avish.shell.batch import BatchScreen, lines_of, run_batch
        from avish.shell.driver import Driver
        from avish.shell.session import Session as ShellSession
        from avish.shell.streams import Streams

        given = command.encode() if isinstance(command, str) else command
        as_json, text = _options(given) if given is not None else (False, b"")
        incoming = Incoming()
        if given is not None:
            incoming.feed(text)
            incoming.hang_up()
        client = self._client()
        client.work_in(self._known.tenant)
        session = ShellSession(self._tree, self._settings.host, tenant=self._known.tenant)
        out, err = (Outgoing(self._write, stream) for stream in (self._process.stdout, self._process.stderr))
        screen = BatchScreen(out, err, quiet=as_json)  # type: ignore[arg-type]
        driver = Driver(session, client, screen, Streams(client, screen.event), as_json=as_json)

        def work() -> int:
            confine(client)
            return run_batch(driver, lines_of(incoming), keep_going=False)  # type: ignore[arg-type]

        return await self._in_thread(work, incoming.feed, incoming.hang_up, ended=given is not None)

    async def _in_thread(
        self, work: Callable[[], int], feed: Callable[[bytes], None], hang_up: Callable[[], None], *, ended: bool
    ) -> int:
        """Run ``work`` and hand it what comes in."""
        done: asyncio.Future[int] = self._loop.create_future()
        thread = threading.Thread(target=self._work, args=(work, done), daemon=True)
        thread.start()
        pump = asyncio.create_task(self._pump(feed, hang_up, ended=ended))
        try:
            return await done
        finally:
            pump.cancel()
            hang_up()

    def _work(self, work: Callable[[], int], done: asyncio.Future[int]) -> None:
        status = EXIT_BUG
        try:
            status = work()
        except (BrokenPipeError, ConnectionError):
            status = 130
        except AvishError as error:
            status = error.exit_status
        finally:
            with contextlib.suppress(RuntimeError):  # the process ends
                self._loop.call_soon_threadsafe(_finish, done, status)

    async def _pump(self, feed: Callable[[bytes], None], hang_up: Callable[[], None], *, ended: bool) -> None:
        while True:
            try:
                data = await self._read()
            except (asyncssh.Error, OSError):
                data = b""
            if data:
                feed(data)
                continue
            if not ended:
                hang_up()
            return

    # --- for people

    async def _person(self, typed: bytes) -> int:
        """The full shell, in a process and on a terminal of its own."""
        process = self._process
        columns, lines, *_ = process.get_terminal_size()
        given = {
            "session": self._known.session, "user": self._known.user, "tenant": self._known.tenant,
            "host": self._settings.host, "term": process.get_terminal_type(), "columns": columns, "lines": lines,
        }  # fmt: skip
        if self._settings.message:
            process.stdout.write(self._settings.message.rstrip().replace("\n", "\r\n").encode() + b"\r\n")
        master, status = self._zygote.shell(given)
        keys = asyncio.create_task(self._keys(master, typed))
        screen = asyncio.create_task(self._screen(master))
        try:
            await asyncio.wait({keys, screen}, return_when=asyncio.FIRST_COMPLETED)
            return await self._status(status) if screen.done() else 130
        finally:
            for task in (keys, screen):
                task.cancel()
            await asyncio.wait({keys, screen})
            os.close(master)  # the shell is hung up on, if it is still there
            os.close(status)

    async def _keys(self, master: int, typed: bytes) -> None:
        """What the person types, and the size of the window."""
        data = typed
        while True:
            while data:
                try:
                    data = data[os.write(master, data) :]
                except BlockingIOError:
                    await asyncio.sleep(0.01)
                except OSError:
                    return
            try:
                data = bytes(await self._process.stdin.read(CHUNK))
            except asyncssh.TerminalSizeChanged as change:
                resize(master, change.width, change.height)
                continue
            except (asyncssh.BreakReceived, asyncssh.SignalReceived):
                data = b"\x03"
            except (asyncssh.Error, OSError):
                data = b""
            self._touched = time.monotonic()
            if not data:
                data = b"\x04"
                if self._process.channel.is_closing():
                    return
                await asyncio.sleep(0.05)

    async def _screen(self, master: int) -> None:
        """What the shell paints, as fast as the other side takes it, until the shell is over."""
        while True:
            await _readable(self._loop, master)
            try:
                data = os.read(master, CHUNK)
            except BlockingIOError:
                continue
            except OSError:  # nobody has the terminal open any more
                return
            if not data or self._process.channel.is_closing():
                return
            await self._send(self._process.stdout, data)

    async def _status(self, pipe: int) -> int:
        """The exit status; 130 when the shell was killed."""
        await _readable(self._loop, pipe)
        with contextlib.suppress(BlockingIOError):
            found = os.read(pipe, 1)
            return found[0] if found else 130
        return 130


def _finish(done: asyncio.Future[Any], value: Any) -> None:
    if not done.done():
        done.set_result(value)


async def _readable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _finish, ready, None)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _options(command: bytes) -> tuple[bool, bytes]:
    """(whether JSON is wanted, the lines) of ``ssh host 'show pool --json'``; ``;`` outside quotes ends a line."""
    text = command.decode("utf-8", "replace").strip()
    as_json = text.endswith(" --json") or text.startswith("--json ")
    text = text.removesuffix(" --json").removeprefix("--json ")
    lines, quote = [""], ""
    for char in text:
        if char == ";" and not quote:
            lines.append("")
            continue
        if char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        lines[-1] += char
    return as_json, "\n".join(line.strip() if ";" in text else line for line in lines).encode() + b"\n"


class Incoming:
    """Bytes that come in, for a thread to read line by line. ``feed`` is called from another one."""

    def __init__(self) -> None:
        self._data = b""
        self._ended = False
        self._changed = threading.Condition()

    def feed(self, data: bytes) -> None:
        """More of it."""
        with self._changed:
            self._data += data
            self._changed.notify()

    def hang_up(self) -> None:
        """That was all."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def readline(self, limit: int) -> bytes:
        """A line, at most ``limit`` bytes of it; b"" at the end."""
        with self._changed:
            while b"\n" not in self._data and len(self._data) < limit and not self._ended:
                self._changed.wait()
            end = self._data.find(b"\n") + 1 or len(self._data)
            line, self._data = self._data[: min(end, limit)], self._data[min(end, limit) :]
            return line


class Outgoing:
    """A stream of the session as a file to print to."""

    def __init__(self, write: Callable[[Any, bytes], None], stream: Any) -> None:
        self._write, self._stream = write, stream

    def write(self, text: str) -> int:
        """Send it."""
        self._write(self._stream, text.encode("utf-8", "surrogateescape"))
        return len(text)

    def flush(self) -> None:
        """Everything has been sent."""

    def isatty(self) -> bool:
        """It is no terminal."""
        return False

"""The program ``avish``: options, and which front to start."""

from __future__ import annotations

import argparse
import io
import os
import socket
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from avish.api import DEFAULT_HOME
from avish.errors import AvishError, ParseError
from avish.lang.tree import Tree
from avish.schema.load import schema
from avish.shell.explain import bug, explain

if TYPE_CHECKING:
    from avish.api.client import Client
    from avish.api.reach import NetworkReach
    from avish.shell.batch import Numbered


def main(argv: list[str] | None = None) -> int:
    """Run the shell; the exit status."""
    options = _options().parse_args(argv)
    home = Path(options.home)
    options.host = socket.gethostname()
    if not (options.command or options.file) and (forced := os.environ.get("SSH_ORIGINAL_COMMAND")):
        options.command = [forced]  # OpenSSH runs us in place of what the user asked for
    try:
        return _run(options, home)
    except AvishError as error:
        print(explain(error), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  (a bug: told with a reference, never as a traceback)
        print(bug(error, home), file=sys.stderr)
        return 70


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="avish", description="The Avi CLI on the Linux kernel's dataplane")
    add = parser.add_argument
    add("--address", help="controller to reach over the network (default: the one of --home)")
    add("--port", type=int, help="its port")
    add("--user", help="user to log in as, with --address")
    add("--password", help="password, with --address")
    add("--token", help="token instead of a password, with --address")
    add("--tenant", default="", help="tenant to work in (default: that of the user)")
    add("--home", default=os.environ.get("AVISH_HOME", DEFAULT_HOME), help="home directory of the controller")
    add("--file", help="run the commands of this file")
    add("-c", "--command", action="append", metavar="LINE", help="run this line (may be given again)")
    add("--json", action="store_true", help="each show prints one JSON document")
    add("--batch-mode", action="store_true", help="read lines as a script, also from a terminal")
    add("--min-output", action="store_true", help="print no tables after configure and save")
    add("--keep-going", action="store_true", help="go on after an error")
    add("--dry-run", action="store_true", help="say what each save would change, change nothing")
    add("--parse-only", action="store_true", help="judge each line, execute nothing; needs no controller")
    add("--no-color", action="store_true", help="no colours")
    add("--debug", action="store_true", help="print each call to the controller on standard error")
    add("--log", help="write each call to the controller to this file")
    return parser


def _run(options: argparse.Namespace, home: Path) -> int:
    tree = Tree(schema())
    if options.parse_only:
        return _check(options, tree)
    reach = _network(options, home) if options.address else home
    from avish.api.client import Client

    client = _traced(options, reach) if options.debug or options.log else Client(reach)
    client.connect()
    options.tenant = options.tenant or "admin"
    client.work_in(options.tenant)
    if options.command or options.file or options.batch_mode or not sys.stdin.isatty():
        return _batch(options, tree, client)
    return _terminal(options, tree, client)


def _network(options: argparse.Namespace, home: Path) -> NetworkReach:
    """The way to a controller on another machine, logged in."""
    from avish.api.reach import NetworkReach, pins_file

    user = options.user or "admin"
    address, colon, port = options.address.rpartition(":")
    if not colon or not port.isdigit() or (":" in address and not address.endswith("]")):
        address, port = options.address, "443"
    secret = {"token": options.token} if options.token else {"password": _password(options, user)}
    reach = NetworkReach(address.strip("[]"), options.port or int(port), user, secret, pins_file(), home)
    reach.log_in()
    if reach.pinned:
        print(f"certificate of {reach.place} remembered: SHA-256 {reach.pinned}", file=sys.stderr)
    options.tenant = options.tenant or reach.tenant
    options.host = address.strip("[]")
    return reach


def _password(options: argparse.Namespace, user: str) -> str:
    if options.password is not None or "AVISH_PASSWORD" in os.environ:
        return str(options.password if options.password is not None else os.environ["AVISH_PASSWORD"])
    if not sys.stdin.isatty():
        raise ParseError("--address: a password is needed: --password, --token or $AVISH_PASSWORD")
    import getpass

    return getpass.getpass(f"Password of {user}: ")


def _traced(options: argparse.Namespace, where: Path | NetworkReach) -> Client:
    from avish.shell.driver import TracedClient

    files: list[IO[str]] = [sys.stderr] if options.debug else []
    if options.log:
        try:
            files.append(Path(options.log).open("a"))  # noqa: SIM115  (open to the end of the program)
        except OSError as error:
            raise ParseError(f"--log {options.log}: {error.strerror}") from None
    return TracedClient(where, files)


def _batch(options: argparse.Namespace, tree: Tree, client: Client) -> int:
    from avish.shell.batch import BatchScreen, run_batch
    from avish.shell.driver import Driver
    from avish.shell.session import Session
    from avish.shell.streams import Streams

    session = Session(tree, options.host, tenant=options.tenant, dry_run=options.dry_run, quiet=options.min_output)
    screen = BatchScreen(sys.stdout, sys.stderr, quiet=options.json)
    driver = Driver(session, client, screen, Streams(client, screen.event), as_json=options.json)
    return run_batch(driver, _lines(options), keep_going=options.keep_going)


def _terminal(options: argparse.Namespace, tree: Tree, client: Client) -> int:
    from avish.shell.session import Session
    from avish.shell.tty import Terminal

    session = Session(
        tree,
        options.host,
        tenant=options.tenant,
        dry_run=options.dry_run,
        interactive=True,
        quiet=options.min_output,
    )
    return Terminal(tree, session, client, colours=not options.no_color).run()


def _check(options: argparse.Namespace, tree: Tree) -> int:
    from avish.lang.check import Checker
    from avish.shell.batch import check_lines

    return check_lines(Checker(tree), _lines(options))


def _lines(options: argparse.Namespace) -> Numbered:
    from avish.shell.batch import lines_of

    if options.command:
        return lines_of(io.BytesIO("\n".join(options.command).encode("utf-8", "surrogateescape")))
    if options.file:
        try:
            return lines_of(Path(options.file).open("rb"))
        except OSError as error:
            raise ParseError(f"--file {options.file}: {error.strerror}") from None
    return lines_of(sys.stdin.buffer)


if __name__ == "__main__":
    sys.exit(main())

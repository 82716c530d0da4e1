"""``avishd``: the controller's program."""

from __future__ import annotations

import argparse
import getpass
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avish.errors import AvishError, UnavailableError, ValidationError
from avish.schema.load import schema
from avish.server import lifecycle
from avish.server.backup import backup, restore
from avish.server.credentials import accounts_of, rotate_key
from avish.server.home import Home, private_log
from avish.server.schema_json import schema_document
from dataplane.errors import DataplaneError, UnreachableError
from dataplane.topology import load

DEFAULT_HOME = "/var/lib/avish"
REFUSED, UNREACHABLE, BUG, INTERRUPTED = 1, 69, 70, 130


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; the exit status of the contract."""
    options = _parser().parse_args(arguments)
    home = Home(Path(options.home).absolute())
    try:
        return int(options.run(home, options))
    except (AvishError, DataplaneError) as error:
        return _complain(str(error), _status_of(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001  (a bug: one line here, the details in a log)
        return _complain(f"internal error; details in {_bug_report(home)}", BUG)


def _status_of(error: AvishError | DataplaneError) -> int:
    if isinstance(error, AvishError):
        return error.exit_status
    return UNREACHABLE if isinstance(error, UnreachableError) else REFUSED


def _complain(text: str, status: int) -> int:
    print(f"avishd: {text}", file=sys.stderr)
    return status


def _bug_report(home: Home) -> Path:
    folder = home.log if home.log.is_dir() else Path("/tmp")  # noqa: S108  (where else, without a home)
    path = folder / f"avishd-error-{os.getpid()}.log"
    with private_log(path) as out:
        out.write(traceback.format_exc().encode())
    return path


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--home",
        default=os.environ.get("AVISH_HOME") or DEFAULT_HOME,
        metavar="DIR",
        help=f"directory of the store and the socket (default: $AVISH_HOME, else {DEFAULT_HOME})",
    )
    common.add_argument(
        "--prefix", metavar="NAME", help=f"what the lab's namespaces begin with (default: {lifecycle.DEFAULT_PREFIX})"
    )
    parser = argparse.ArgumentParser(prog="avishd", description="The controller of avish.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Home, Any], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    serve = add("serve", _serve, "serve in the foreground; the log goes to standard error")
    serve.add_argument(
        "--topology", metavar="FILE", help="run the service engines of this topology, whose namespaces exist"
    )
    _with_network(serve)
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    up = add("up", _up, "build a lab and start its controller in the background")
    up.add_argument("topology", metavar="TOPOLOGY", help="the topology file")
    _with_network(up)
    add("down", _down, "end the controller and its agents, remove the lab; the store stays")
    _with_json(add("status", _status, "whether the controller answers and its engines are in step"))
    _with_json(add("schema", _schema, "the object model and the command tree"))
    passwd = add("passwd", _passwd, "set the password of a user, read from standard input")
    passwd.add_argument("user", metavar="USER")
    key = add("key", _key, "let a user log in over SSH with a public key")
    key.add_argument("user", metavar="USER")
    key.add_argument(
        "file", metavar="FILE", help="public keys as OpenSSH writes them, one a line; - for standard input"
    )
    add("rotate-key", _rotate_key, "seal all secrets in the store with a new key; the controller must not run")
    saved = add("backup", _backup, "write store, keys and audit into one file")
    saved.add_argument("file", metavar="FILE")
    saved.add_argument("--seal", action="store_true", help="ask for a passphrase, without which nobody can read it")
    put_back = add("restore", _restore, "put a backup in place; the controller must not run")
    put_back.add_argument("file", metavar="FILE", help="a backup; the passphrase of a sealed one is asked for")
    add("check", _check, "is the store consistent, and does every kernel hold the configuration?")
    return parser


def _with_network(command: argparse.ArgumentParser) -> None:
    for name, what in (
        ("--https", "the REST API with TLS"),
        ("--ssh", "the shell over SSH"),
        ("--metrics", "metrics for Prometheus"),
    ):
        command.add_argument(name, metavar="ADDRESS:PORT", type=_place, help=f"also serve {what} there; off otherwise")


def _place(text: str) -> tuple[str, int]:
    """``127.0.0.1:8443``, ``[::1]:8443``, ``:8443`` for all addresses."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no ADDRESS:PORT such as 0.0.0.0:8443")
    return address.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  (asked for)


def _with_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="as one JSON document")


def _prefix(options: Any) -> str:
    return options.prefix or lifecycle.DEFAULT_PREFIX


def _serve(home: Home, options: Any) -> int:
    from avish.server.daemon import Network, serve

    os.umask(0o077)  # store, logs and captures are root's, also in a directory that others may read
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)sZ %(levelname)s %(name)s: %(message)s"
    )
    specs = home.engines()
    if options.topology:
        specs = lifecycle.specs_of(load(Path(options.topology)), _prefix(options))
    serve(home, specs, options.ready_fd, Network(options.https, options.ssh, options.metrics))
    return 0


def _up(home: Home, options: Any) -> int:
    for line in lifecycle.up(
        Path(options.topology), _prefix(options), home, options.https, options.ssh, options.metrics
    ):
        print(line)
    return 0


def _down(home: Home, options: Any) -> int:
    for line in lifecycle.down(options.prefix, home):
        print(line)
    return 0


def _status(home: Home, options: Any) -> int:
    report = lifecycle.client(home).call("GET", "/api/avish/status").body
    if options.json:
        print(json.dumps(report, indent=2))
        return 0
    print(f"controller of {report['home']}: process {report['pid']}, revision {report['revision']}")
    for engine in report["engines"]:
        reason = f": {engine['reason']}" if engine["reason"] else ""
        print(f"service engine {engine['name']}: {engine['status'].replace('_', ' ')}{reason}")
    return 0


def _schema(home: Home, options: Any) -> int:
    del home
    document = schema_document(schema())
    if options.json:
        print(json.dumps(document, indent=1))
        return 0
    for command in document["commands"]:
        print(f"{command['path']:60} {command['help']}")
    return 0


def _passwd(home: Home, options: Any) -> int:
    password = _typed(f"New password of {options.user}: ", twice=True)
    if not password:
        raise ValidationError("an empty password lets nobody in; nothing was changed")
    with accounts_of(home) as accounts:
        weak = accounts.set_password(options.user, password)
    if weak:
        print(f"avishd: warning: {weak}; it is set all the same", file=sys.stderr)
    print(f"password of {options.user} set")
    return 0


def _key(home: Home, options: Any) -> int:
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationError(f"{options.file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    keys = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not keys:
        raise ValidationError(f"{options.file} holds no public key")
    with accounts_of(home) as accounts:
        for key in keys:
            fresh = accounts.add_key(options.user, key)
            print(f"key {'added' if fresh else 'known already'}: {' '.join(key.split()[2:]) or key.split()[0]}")
    return 0


def _rotate_key(home: Home, options: Any) -> int:
    del options
    print(f"secrets are sealed with a new key ({rotate_key(home)} versions of objects hold some)")
    return 0


def _backup(home: Home, options: Any) -> int:
    passphrase = ""
    if options.seal:
        passphrase = _typed("Passphrase of the backup: ", twice=True)
        if not passphrase:
            raise ValidationError("an empty passphrase seals nothing; no backup was made")
    names = backup(home, Path(options.file), passphrase)
    keep = (
        "sealed; without the passphrase nobody restores it"
        if passphrase
        else ("it holds the keys as well, so keep it like the machine itself")
    )
    print(f"{options.file}: {len(names)} files; {keep}")
    return 0


def _restore(home: Home, options: Any) -> int:
    print("\n".join(restore(home, Path(options.file), lambda: _typed("Passphrase of the backup: "))))
    return 0


def _typed(prompt: str, *, twice: bool = False) -> str:
    """A secret from the keyboard, or the first line of a standard input that is none."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    given = getpass.getpass(prompt)
    if twice and getpass.getpass("Again: ") != given:
        raise ValidationError("the two are not the same; nothing was changed")
    return given


def _check(home: Home, options: Any) -> int:
    del options
    answer = lifecycle.client(home).call("GET", "/api/avish/check")
    if answer.status != 200:
        raise UnavailableError(answer.body["error"])
    report = answer.body
    findings = [f"store: {text}" for text in report["store"]]
    findings += [f"service engine {name}: {text}" for name, texts in report["engines"].items() for text in texts]
    print("\n".join(findings) or "the store is consistent; every kernel holds the configuration")
    return 0 if report["consistent"] else REFUSED


if __name__ == "__main__":
    sys.exit(main())

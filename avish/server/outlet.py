"""Where alerts leave the machine: syslog over UDP, TCP or TLS, and the scripts that root has installed."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avish.controller.alerts import as_json, legacy, rfc5424

CONNECT_SECONDS = 3.0
SCRIPT_SECONDS = 30.0


class SystemOutlet:
    """``scripts``: a folder; each executable file in it gets every alert as JSON on standard input."""

    def __init__(self, scripts: Path) -> None:
        self._scripts = scripts

    def syslog(self, server: Mapping[str, Any], sender: str, alert: Mapping[str, Any]) -> str:
        """One message, in the form the server's entry asks for."""
        host = sender or socket.gethostname()
        kind = server.get("format", "SYSLOG_LEGACY")
        text = {
            "SYSLOG_LEGACY": lambda: legacy(alert, host),
            "SYSLOG_JSON": lambda: as_json(alert, host, os.getpid()),
        }.get(kind, lambda: rfc5424(alert, host, os.getpid()))()
        target = server["syslog_server"], int(server.get("syslog_server_port") or 514)
        try:
            if server.get("udp", True):
                return _datagram(target, text.encode())
            return _stream(target, text.encode(), server)
        except OSError as error:
            return str(error.strerror or error)

    def scripts(self, alert: Mapping[str, Any]) -> list[str]:
        """In the order of their names."""
        if not self._scripts.is_dir():
            return []
        installed = [path for path in sorted(self._scripts.iterdir()) if path.is_file() and os.access(path, os.X_OK)]
        return [f"{path.name}: {why}" for path in installed if (why := _run(path, alert))]


def _datagram(target: tuple[str, int], data: bytes) -> str:
    family, kind, number, _, address = socket.getaddrinfo(*target, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, number) as out:
        out.sendto(data, address)
    return ""


def _stream(target: tuple[str, int], data: bytes, server: Mapping[str, Any]) -> str:
    """Framed by its length, as RFC 6587 says."""
    with socket.create_connection(target, CONNECT_SECONDS) as plain:
        if not server.get("tls_enable"):
            plain.sendall(b"%d " % len(data) + data)
            return ""
        context = ssl.create_default_context()
        if server.get("anon_auth") or not server.get("strict_cert_verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE if server.get("anon_auth") else ssl.CERT_REQUIRED
        with context.wrap_socket(plain, server_hostname=target[0]) as secure:
            secure.sendall(b"%d " % len(data) + data)
    return ""


def _run(path: Path, alert: Mapping[str, Any]) -> str:
    try:
        done = subprocess.run(
            [str(path), str(alert["text"])],
            input=json.dumps(dict(alert)),
            capture_output=True,
            text=True,
            check=False,
            timeout=SCRIPT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {SCRIPT_SECONDS:g} s"
    except OSError as error:
        return str(error.strerror or error)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return f"ended with {done.returncode}" + (f": {lines[-1]}" if lines else "")
    return ""

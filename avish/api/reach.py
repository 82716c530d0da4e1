"""Where a controller is and how one gets there: its Unix socket, or HTTPS with a certificate known from before."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from avish.api import SOCKET
from avish.errors import UnavailableError, ValidationError

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS = 10.0


class Reach(Protocol):
    """The way to one controller, shared by all connections to it. ``headers`` go with every request."""

    home: Path
    """Where logs of bugs go."""
    headers: dict[str, str]

    def dial(self, timeout: float) -> socket.socket:
        """A new connection; OSError when there is none to be had. ``timeout`` in seconds, of each answer."""

    def renew(self) -> bool:
        """Log in again after a session has ended; False when that cannot help."""

    def away(self, error: Exception, timeout: float) -> UnavailableError:
        """What to tell the user when it cannot be reached."""


class LocalReach:
    """The socket in a home directory: who connects is known by it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.headers: dict[str, str] = {}

    def dial(self, timeout: float) -> socket.socket:
        """As Reach."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(str(self.home / SOCKET))
        except OSError:
            connection.close()
            raise
        return connection

    def renew(self) -> bool:
        """There are no sessions."""
        return False

    def away(self, error: Exception, timeout: float) -> UnavailableError:
        """As Reach."""
        if isinstance(error, TimeoutError):
            return UnavailableError(f"the controller of {self.home} does not answer within {timeout:.0f} s")
        if isinstance(error, PermissionError):
            return UnavailableError(
                f"no access to the controller's socket in {self.home}: root or group avish is needed"
            )
        return UnavailableError(
            f"no controller answers in {self.home}; start one: avishd serve --home {self.home}"
            " (or avishd up TOPOLOGY for a lab)"
        )


class SessionReach(LocalReach):
    """A Unix socket at which sessions count: that of the SSH front, for a user it has let in."""

    def __init__(self, path: str, session: str, home: Path) -> None:
        super().__init__(home)
        self._path = path
        self.headers = {"Cookie": f"sessionid={session}"}

    def dial(self, timeout: float) -> socket.socket:
        """As Reach; the path may be relative."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def away(self, error: Exception, timeout: float) -> UnavailableError:
        """As Reach."""
        del error
        return UnavailableError(f"the controller does not answer (within {timeout:.0f} s)")


class NetworkReach:
    """HTTPS. ``secret``: {"password": ..} or {"token": ..}; ``pins``: the file of certificates seen before."""

    def __init__(self, address: str, port: int, user: str, secret: dict[str, str], pins: Path, home: Path) -> None:
        self.home = home
        self.headers: dict[str, str] = {"Referer": f"https://{address}"}
        self.place = f"{f'[{address}]' if ':' in address else address}:{port}"
        self.pinned = ""
        """The hash of a certificate that was seen for the first time."""
        self.tenant = ""
        """The name of the user's own tenant."""
        self._address, self._port = address, port
        self._user, self._secret, self._pins = user, secret, pins
        self._context: ssl.SSLContext | None = None

    def dial(self, timeout: float) -> socket.socket:
        """As Reach. UnavailableError when the certificate is another one than before."""
        import ssl  # only who goes over the network pays for it

        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE  # the certificate is compared with the one of the first time
        plain = socket.create_connection((self._address, self._port), CONNECT_SECONDS)
        try:
            plain.settimeout(timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._context.wrap_socket(plain, server_hostname=self._address)
            self._compare(connection)
        except BaseException:
            plain.close()
            raise
        return connection

    def log_in(self) -> None:
        """Begin a session. ValidationError (401) when the controller refuses, UnavailableError when it is away."""
        from avish.api.http1 import Connection, ProtocolError

        connection = Connection(self.dial, CONNECT_SECONDS * 3)
        body = json.dumps({"username": self._user, **self._secret}).encode()
        try:
            response = connection.request("POST", "/login", {"Content-Type": "application/json"}, body)
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, ProtocolError, ValueError) as error:
            raise self.away(error, CONNECT_SECONDS) from None
        finally:
            connection.close()
        if response.status != 200:
            raise ValidationError(f"login as {self._user} at {self.place}: {answer.get('error')}", status=401)
        csrf = response.cookies.get("csrftoken", "")
        self.headers |= {"Cookie": f"sessionid={answer['session_id']}", "X-CSRFToken": csrf}
        self.tenant = str(answer["user"]["default_tenant_ref"]).rpartition("#")[2]

    def renew(self) -> bool:
        """Log in again."""
        self.log_in()
        return True

    def away(self, error: Exception, timeout: float) -> UnavailableError:
        """As Reach."""
        if isinstance(error, TimeoutError):
            return UnavailableError(f"the controller at {self.place} does not answer within {timeout:.0f} s")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnavailableError(
            f"no controller answers at {self.place}: {reason} (it is started with avishd serve --https ADDRESS:PORT)"
        )

    def _compare(self, connection: ssl.SSLSocket) -> None:
        """Trust on first use: the certificate is the one that was pinned, or is pinned now."""
        import hashlib

        found = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
        known = self._known().get(self.place)
        if known is None:
            self._pin(found)
        elif known != found:
            raise UnavailableError(
                f"{self.place} shows another certificate than before (SHA-256 {found}, before {known}): somebody may"
                f" be in between. If it was renewed, remove its line from {self._pins}"
            )

    def _known(self) -> dict[str, str]:
        try:
            lines = self._pins.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UnavailableError(f"{self._pins} cannot be read: {error.strerror}") from error
        return {words[0]: words[1] for words in map(str.split, lines) if len(words) == 2}

    def _pin(self, found: str) -> None:
        try:
            self._pins.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(self._pins, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
                file.write(f"{self.place} {found}\n")
        except OSError as error:
            raise UnavailableError(f"{self._pins} cannot be written: {error.strerror}") from error
        self.pinned = found


def pins_file() -> Path:
    """Where a user's certificates are remembered."""
    folder = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(folder) / "avish" / "known_controllers"

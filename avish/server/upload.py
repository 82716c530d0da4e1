"""Copies of backups on another host, over SSH, with a key of the controller's own."""

from __future__ import annotations

import asyncio
import logging
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avish.config.config import Body
from avish.errors import ApplyError
from avish.server.tls import write_private

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

log = logging.getLogger(__name__)

KEY, KNOWN = "backup_key", "backup_known_hosts"
PORT = 22
CONNECT_SECONDS, COPY_SECONDS = 20.0, 300.0


def own_key(folder: Path) -> Path:
    """The file of the private key, made when it is first needed; the public one is beside it (``.pub``)."""
    import asyncssh

    path = folder / KEY
    if not path.exists():
        made = asyncssh.generate_private_key("ssh-ed25519", comment="avish backup")
        write_private(folder / f"{KEY}.pub", made.export_public_key())
        write_private(path, made.export_private_key())
        log.info("the key that copies backups to other hosts is %s.pub", path)
    return path


def upload(file: Path, wanted: Body, keys: Path) -> str:
    """Copy ``file`` as a backup configuration says; where it is then (``sftp://...``). ApplyError when that fails."""
    import asyncssh

    host, port = _place(str(wanted["remote_hostname"]))
    user, folder = str(wanted["ssh_user_ref"]), str(wanted["remote_directory"])
    where = f"{user}@{host}:{folder}"
    try:
        return asyncio.run(_upload(file, wanted, keys, (host, port, user, folder)))
    except asyncssh.HostKeyNotVerifiable as error:
        text = f"{host} is another one than before: its key is not that in {keys / KNOWN} ({error.reason})"
        raise ApplyError(f"no copy to {where}: {text}") from error
    except asyncssh.PermissionDenied as error:
        text = f"it does not let in {user} with the key {keys / KEY}.pub: put that into its authorized_keys"
        raise ApplyError(f"no copy to {where}: {text}") from error
    except TimeoutError as error:
        raise ApplyError(f"no copy to {where}: it does not answer, or is too slow") from error
    except (OSError, asyncssh.Error) as error:
        raise ApplyError(f"no copy to {where}: {error}") from error


async def _upload(file: Path, wanted: Body, keys: Path, place: tuple[str, int, str, str]) -> str:
    import asyncssh

    host, port, user, folder = place
    known = keys / KNOWN
    trusted: Any = known.read_bytes() if known.exists() else b""
    name = host if port == PORT else f"[{host}]:{port}"
    first = name.encode() not in {line.split(b" ")[0] for line in trusted.splitlines()}
    async with asyncio.timeout(CONNECT_SECONDS + COPY_SECONDS):
        connection = await asyncssh.connect(
            host, port, username=user, client_keys=[str(own_key(keys))], agent_path=None, config=None,
            known_hosts=None if first else trusted, connect_timeout=CONNECT_SECONDS,
        )  # fmt: skip
        try:
            if first:
                _trust(known, trusted, name, connection)
            return await _copy(connection, file, folder, wanted)
        finally:
            connection.close()
            await connection.wait_closed()


def _trust(known: Path, trusted: bytes, name: str, connection: SSHClientConnection) -> None:
    """Remember the key of a host that is met for the first time."""
    key = connection.get_server_host_key()
    if key is not None:
        line = f"{name} {key.export_public_key().decode().strip()}\n".encode()
        write_private(known, trusted + line)
        log.info("backups are copied to %s, host key %s", name, key.get_fingerprint())


async def _copy(connection: SSHClientConnection, file: Path, folder: str, wanted: Body) -> str:
    """Under another name first, where the protocol can rename."""
    import asyncssh

    target = posixpath.join(folder, file.name)
    if wanted.get("remote_file_transfer_protocol") == "SFTP":
        async with connection.start_sftp_client() as sftp:
            await sftp.put(str(file), f"{target}.part")
            await sftp.posix_rename(f"{target}.part", target)
    else:
        await asyncssh.scp(str(file), (connection, target))
    peer = wanted["remote_hostname"]
    return f"{str(wanted.get('remote_file_transfer_protocol') or 'SCP').lower()}://{peer}{posixpath.join('/', target)}"


def _place(text: str) -> tuple[str, int]:
    """``host``, ``host:port``, ``[address]:port``; a bare IPv6 address is a host."""
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and ("]" in host or ":" not in host):
        return host.strip("[]"), int(port)
    return text.strip("[]"), PORT

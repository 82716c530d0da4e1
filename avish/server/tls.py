"""The certificate HTTPS answers with: given by the operator, or made once for this controller."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from avish.errors import UnavailableError
from avish.newfile import new_file

CERTIFICATE, KEY = "https.crt", "https.key"
DAYS = 3650
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def context(folder: Path, names: Iterable[str]) -> ssl.SSLContext:
    """TLS 1.2 and later with the certificate in ``folder``, which is made for ``names`` when there is none.

    UnavailableError when it cannot be made or read.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    try:
        if not (certificate.exists() and key.exists()):
            _make(certificate, key, list(names))
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers(CIPHERS)
        made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UnavailableError(f"the certificate {certificate} with {key} cannot be used: {error}") from error
    return made


def certificate_hash(folder: Path) -> str:
    """SHA-256 of the certificate, as clients show it."""
    der = ssl.PEM_cert_to_DER_cert((folder / CERTIFICATE).read_text(encoding="ascii"))
    return hashlib.sha256(der).hexdigest()


def _make(certificate: Path, key: Path, names: list[str]) -> None:
    """A key and a certificate signed with itself. Loaded only here: it is needed once in the life of a controller."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, socket.gethostname()[:64] or "avish")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([_san(one) for one in dict.fromkeys(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    certificate.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(key, private.private_bytes(serialization.Encoding.PEM, *form))
    write_private(certificate, built.public_bytes(serialization.Encoding.PEM))


def _san(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def own_names(address: str) -> list[str]:
    """What clients call this machine."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    try:
        wild = ipaddress.ip_address(address).is_unspecified
    except ValueError:
        wild = False
    return names if wild else [*names, address]


def write_private(path: Path, data: bytes) -> None:
    """A new file of mode 0600, whole or not at all."""
    with new_file(path, synced=True) as file:
        file.write(data)

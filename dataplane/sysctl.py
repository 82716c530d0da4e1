"""Kernel settings of the current network namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dataplane.errors import RefusedError

_ROOT = Path("/proc/sys")
FORWARD = "net/ipv4/ip_forward"
FORWARD_6 = "net/ipv6/conf/all/forwarding"
_SETTINGS = {
    "net/netfilter/nf_conntrack_acct": "1",
    "net/netfilter/nf_conntrack_timestamp": "1",
    "net/netfilter/nf_conntrack_tcp_be_liberal": "1",
}
_PINGS = {"net/netfilter/nf_conntrack_icmp_timeout": "30", "net/netfilter/nf_conntrack_icmpv6_timeout": "30"}
"""How long an ICMP flow is remembered, as kernels have it; rules cannot say it."""
_ARP_IGNORE = "net/ipv4/conf/all/arp_ignore"
_REFLECT = "net/ipv4/fwmark_reflect"
_PER_INTERFACE = {"rp_filter": "0", "send_redirects": "0"}


def read(name: str) -> str:
    """The value of "net/ipv4/ip_forward" and the like. Raises OSError."""
    return (_ROOT / name).read_text().strip()


def boot() -> str:
    """What tells this boot of the machine from every other. Raises OSError."""
    return read("kernel/random/boot_id")


def write(name: str, value: str) -> None:
    """Set ``name``, unless it has that value. Raises RefusedError."""
    try:
        if read(name) != value:
            (_ROOT / name).write_text(value)
    except OSError as error:
        raise RefusedError(f"the kernel setting {name} cannot be set: {error.strerror}") from error


def settings() -> dict[str, str]:
    """The values of all that is ever written here, as they are now. Raises OSError."""
    names = [*_SETTINGS, *_PINGS, _ARP_IGNORE, _REFLECT, *forwarding(), *(name for name, _ in _per_interface())]
    return {name: read(name) for name in names}


def restore(values: Mapping[str, str]) -> None:
    """Put back ``settings``; those of interfaces that have gone are left out. Raises RefusedError."""
    for name, value in values.items():
        if (_ROOT / name).exists():
            write(name, value)


def _per_interface() -> Iterator[tuple[str, str]]:
    for interface in sorted(path.name for path in (_ROOT / "net/ipv4/conf").iterdir()):
        for name, value in _PER_INTERFACE.items():
            yield f"net/ipv4/conf/{interface}/{name}", value


def prepare() -> None:
    """What an engine needs besides forwarding: accounting, asymmetric paths, no redirects. Raises RefusedError.

    Accounting counts only connections that begin after it was switched on. Interfaces that come later inherit the
    defaults.
    """
    for name, value in _SETTINGS.items():
        write(name, value)
    for name, value in _per_interface():
        write(name, value)


def remember_pings(seconds: int | None) -> None:
    """How long an ICMP flow without packets is remembered; None: as kernels do. Raises RefusedError."""
    for name, usual in _PINGS.items():
        write(name, usual if seconds is None else str(seconds))


def answer_everywhere(*, everywhere: bool) -> None:
    """Whether ARP is answered for an address on every interface, or on its own only. Raises RefusedError."""
    write(_ARP_IGNORE, "0" if everywhere else "1")


def reflect_marks(*, on: bool) -> None:
    """Whether what the kernel answers by itself bears the mark of the question. Raises RefusedError."""
    write(_REFLECT, "1" if on else "0")


def forwarding() -> list[str]:
    """The settings that let the kernel pass packets on; it may have been started without IPv6."""
    return [name for name in (FORWARD, FORWARD_6) if (_ROOT / name).exists()]


def forwards() -> bool:
    """Whether the kernel passes packets on at all."""
    return all(read(name) == "1" for name in forwarding())

"""Words of nftables rules that depend on the IP version, and those that rules share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from dataplane.nft import Family

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}
SEED = "seed 0x1"
"""Fixed: both engines of a pair, and a chain loaded anew, choose alike."""


def mark(number: int) -> str:
    """A mark as nft lists it."""
    return f"0x{number:08x}"


def counted(name: str) -> str:
    """The statement that counts."""
    return f'counter name "{name}"'


@dataclass(frozen=True, slots=True)
class Words:
    """How one IP version is spoken of: ``address`` is the type of an address, ``icmp`` a protocol number."""

    family: Family
    version: int
    address: str
    icmp: int

    @property
    def source(self) -> str:
        """The source address."""
        return f"{self.family} saddr"

    @property
    def destination(self) -> str:
        """The destination address."""
        return f"{self.family} daddr"

    def masked_source(self, prefix: int) -> str:
        """The first ``prefix`` bits of the source address."""
        bits = 32 if self.version == 4 else 128
        if prefix >= bits:
            return self.source
        number = (1 << bits) - (1 << (bits - prefix))
        return f"{self.source} & {IPv4Address(number) if self.version == 4 else IPv6Address(number)}"


IPV4 = Words("ip", 4, "ipv4_addr", 1)
IPV6 = Words("ip6", 6, "ipv6_addr", 58)
BOTH = (IPV4, IPV6)

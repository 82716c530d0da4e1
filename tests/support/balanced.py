"""Virtual services written down quickly, and clients that hold connections open."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from site_lab import CALL, Site

TALK = 9000


def pool(site: Site, name: str, servers: dict[str, str], port: int = 80, fields: str = "") -> None:
    """``servers``: fields by address."""
    lines = "".join(f"servers ip {ip} port {port} {more}\nsave\n" for ip, more in servers.items())
    site.do(f"configure pool {name}\nlb_algorithm lb_algorithm_round_robin\n{lines}{fields}\nsave\n")


def service(site: Site, name: str, vips: list[str], fields: str, port: int = 80, more: str = "") -> None:
    """A virtual service of its own vsvip; ``more``: fields of its port."""
    lines = "".join(
        f"vip vip_id {number} {'ip6_address' if ':' in vip else 'ip_address'} {vip}\nsave\n"
        for number, vip in enumerate(vips, 1)
    )
    network = "" if "network_profile_ref" in fields else "network_profile_ref System-TCP-Fast-Path\n"
    profile = "" if "application_profile_ref" in fields else "application_profile_ref keep\n"
    site.do(
        f"configure vsvip {name}\n{lines}save\n"
        f"configure virtualservice {name}\nservices port {port} {more}\nsave\nvsvip_ref {name}\n"
        f"{network}{profile}{fields}\nsave\n"
    )


def names(answers: list[str]) -> Counter[str]:
    """How often each server, or error, answered."""
    return Counter(answer.split()[0] for answer in answers)


class Talker:
    """Open connections that can be asked whether they still are."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self) -> list[str]:
        """What each connection answers: a server's name, "closed", or the name of an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().split()


@contextmanager
def talking(site: Site, host: str, vip: str, count: int = 1, port: int = TALK, *source: str) -> Iterator[Talker]:
    """Connections that stay open."""
    words = [
        "ip",
        "netns",
        "exec",
        f"{site.prefix}-{host}",
        sys.executable,
        str(CALL),
        "talk",
        vip,
        str(port),
        str(count),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen([*words, *source], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            opened = process.stdout.readline()
            assert opened == "open\n", (opened, process.stderr.read() if process.stderr else "")
            yield Talker(process)
        finally:
            process.kill()

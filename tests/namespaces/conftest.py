"""Labs of clients, engines and servers; what they route is the same in all of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from site_lab import Site, running

HERE = Path(__file__).parent
ROUTING = """
configure serviceenginegroup Default-Group
ha_mode ha_mode_legacy_active_standby
save
configure applicationprofile keep
type application_profile_type_l4
preserve_client_ip
save
configure networkservice routing
se_group_ref Default-Group
service_type routing_service
routing_service enable_routing
{floating}
save
save
"""


@contextmanager
def lab(folder: Path, name: str, floating: list[str]) -> Iterator[Site]:
    """The topology of a name, with its hosts' files beside it; the engines route, ``floating`` are their addresses."""
    for file in (f"{name}.yaml", "answer.py", "ftp.conf"):
        shutil.copy(HERE / file, folder)
    (folder / "ftp").mkdir()
    (folder / "ftp/data.bin").write_bytes(os.urandom(100_000))
    with running(folder / f"{name}.yaml", folder, f"t{os.getpid()}{name[0]}") as site:
        site.do(ROUTING.format(floating="\n".join(f"floating_intf_ip {ip}" for ip in floating)))
        yield site


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One client, two engines, two servers."""
    with lab(tmp_path_factory.mktemp("plain"), "plain", ["10.77.1.1", "10.77.2.1"]) as site:
        yield site


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One client, one engine, three servers, both IP versions; two of the servers speak FTP."""
    floating = ["10.78.1.1", "10.78.2.1", "fd78:1::1", "fd78:2::1"]
    with lab(tmp_path_factory.mktemp("mixed"), "mixed", floating) as site:
        yield site

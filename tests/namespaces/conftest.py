"""A lab of one client, two engines and two servers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
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
routing_service enable_routing floating_intf_ip 10.77.1.1 floating_intf_ip 10.77.2.1
save
save
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One client, two engines, two servers; routing is on."""
    folder = tmp_path_factory.mktemp("plain")
    for name in ("plain.yaml", "answer.py"):
        shutil.copy(HERE / name, folder)
    with running(folder / "plain.yaml", folder, f"t{os.getpid()}p") as site:
        site.do(ROUTING)
        yield site


MIXED = """
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
routing_service enable_routing floating_intf_ip 10.78.1.1 floating_intf_ip 10.78.2.1
floating_intf_ip fd78:1::1
floating_intf_ip fd78:2::1
save
save
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One client, one engine, three servers, both IP versions; two of the servers speak FTP."""
    folder = tmp_path_factory.mktemp("mixed")
    for name in ("mixed.yaml", "answer.py", "ftp.conf"):
        shutil.copy(HERE / name, folder)
    (folder / "ftp").mkdir()
    (folder / "ftp/data.bin").write_bytes(os.urandom(100_000))
    with running(folder / "mixed.yaml", folder, f"t{os.getpid()}m") as site:
        site.do(MIXED)
        yield site

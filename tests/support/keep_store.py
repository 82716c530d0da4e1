"""Keeps a store as the present release writes it, for later ones to open: ``keep_store.py NAME``.

To be run once, before a release, from the folder of the checkout; what it writes belongs to the tests from then on.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path.cwd() / "tests/avish"))
from rig import Rig

STORES = Path.cwd() / "tests/avish/config/stores"
SECRET = "Canary-kept-1"


def fill(rig):
    """The founding configuration, a tenant, a user, something secret; the last revision describes a pool."""
    rig.load("active-ftp.yaml")
    rig.post("tenant", name="blue")
    rig.post("user", name="anna", password="Anna-horse-1", is_superuser=True)
    web = {"http_response_code": ["HTTP_2XX"]}
    login = {"username": "u", "password": SECRET}
    rig.post("healthmonitor", name="secret", type="HEALTH_MONITOR_HTTP", http_monitor=web, authentication=login)
    rig.change("pool", "ftp-pool", description="old")


def main():
    STORES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        fill(rig)
        rig.close()
        with closing(sqlite3.connect(rig.home.store)) as db:
            (STORES / f"{sys.argv[1]}.sql").write_text("\n".join(db.iterdump()) + "\n")
        (STORES / f"{sys.argv[1]}.key").write_bytes((rig.home.keys / "secrets.key").read_bytes())


if __name__ == "__main__":
    main()

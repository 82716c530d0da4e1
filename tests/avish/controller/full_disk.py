"""A controller whose disk is full: full_disk.py FOLDER, in a mount namespace of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from rig import Rig


def fill(path):
    with path.open("wb", buffering=0) as out:
        while True:
            out.write(b"x" * 4096)


def main(folder):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
    rig = Rig(folder)
    rig.load("active-ftp.yaml")
    before, listeners = rig.head, [driver.listeners() for driver in rig.drivers.values()]
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    answer = rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}], description="x" * 100_000)
    assert answer.status == 422
    assert "full" in answer.body["error"]
    rig.bring_up()
    assert rig.head is before
    assert [driver.listeners() for driver in rig.drivers.values()] == listeners
    assert rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 21
    filler.unlink()
    assert rig.change("virtualservice", "ftp-vs", services=[{"port": 2121}]).status == 200
    rig.restart()
    assert rig.one("virtualservice", "ftp-vs")["services"][0]["port"] == 2121
    assert rig.get("/api/avish/check")["consistent"] is True
    rig.close()
    print("all as it was")


main(Path(sys.argv[1]))

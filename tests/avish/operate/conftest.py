"""Controllers on engines in memory."""

from __future__ import annotations

import pytest
from rig import Rig


@pytest.fixture
def rig(tmp_path):
    """Two engines, nothing configured."""
    rig = Rig(tmp_path)
    yield rig
    rig.close()


@pytest.fixture
def ftp(rig):
    """The founding configuration."""
    rig.load("active-ftp.yaml")
    return rig

from __future__ import annotations

import pytest

pytest.importorskip("asyncssh")
from sshrig import controller  # noqa: F401

from __future__ import annotations

import pytest
from httpsrig import HttpsRig


@pytest.fixture(autouse=True)
def _no_other_certificates(monkeypatch):
    """requests lets these override verify=False."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def web_rig(tmp_path):
    pytest.importorskip("cryptography")
    rig = HttpsRig(tmp_path)
    yield rig
    rig.close()

from __future__ import annotations

from avish.operate.marks import describe
from dataplane.model import NAT_MARK


def test_marks_have_names(ftp_rig):
    config, ids = ftp_rig.head.config, ftp_rig.head.ids
    assert describe(config, ids, 1) == {"virtualservice": "ftp-vs"}
    assert describe(config, ids, NAT_MARK | 1) == {"rule": "ftp-nat/1 active-ftp-data"}
    for unknown in (0, 99, NAT_MARK | 99):
        assert describe(config, ids, unknown) == {}

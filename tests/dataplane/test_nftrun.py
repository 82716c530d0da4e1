from __future__ import annotations

import errno
import os
from types import SimpleNamespace

from dataplane.nftrun import Loader


def test_a_commit_that_cannot_be_listened_for_is_waited_for(monkeypatch):
    def full(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", full)
    assert Loader.__new__(Loader)._announced(SimpleNamespace(pid=1)) is False

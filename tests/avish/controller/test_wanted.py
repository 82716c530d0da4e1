"""What a capture of a virtual service takes along."""

from __future__ import annotations

import pytest

from avish.controller.wanted import _is_ftp


@pytest.mark.parametrize(
    ("port", "profile", "speaks"),
    [(21, "L4-preserve-client-ip", True), (2121, "L4-preserve-client-ip", False), (2121, "System-FTP", True)],
)
def test_data_connections_belong_to_a_service_for_ftp(ftp_rig, port, profile, speaks):
    config = ftp_rig.controller.committer.head.config
    reference = f"/api/applicationprofile/{ftp_rig.one('applicationprofile', profile)['uuid']}"
    service = {**config.named("virtualservice", "ftp-vs"), "services": [{"port": port}]}
    assert _is_ftp(config, {**service, "application_profile_ref": reference}) is speaks

"""Names that mean something to the code: the objects that each controller has, and the engines."""

from __future__ import annotations

ADMIN_TENANT = "admin"
"""Name and uuid of the tenant that is always there."""
DEFAULT_CLOUD, DEFAULT_GROUP = "Default-Cloud", "Default-Group"
GLOBAL_VRF, MANAGEMENT_VRF = "global", "management"
ENGINE, ENGINE_GROUP, VRF = "serviceengine", "serviceenginegroup", "vrfcontext"
FOUND = "data_vnics"
"""What an engine's kernel says of itself; nobody else knows better."""

"""Names that mean something to the code: the objects that each controller has, and the engines."""

from __future__ import annotations

ADMIN_TENANT = "admin"
"""Name and uuid of the tenant that is always there."""
DEFAULT_CLOUD, GLOBAL_VRF, DEFAULT_GROUP = "Default-Cloud", "global", "Default-Group"
ENGINE, ENGINE_GROUP = "serviceengine", "serviceenginegroup"
FOUND = "data_vnics"
"""What an engine's kernel says of itself; nobody else knows better."""

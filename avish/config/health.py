"""The kinds of health monitors that are tested. Read by the checks and by the compiler."""

from __future__ import annotations

from typing import Literal

Kind = Literal["tcp", "udp", "ping", "ftp", "http", "https", "external"]
KINDS: dict[str, Kind] = {
    "HEALTH_MONITOR_TCP": "tcp",
    "HEALTH_MONITOR_UDP": "udp",
    "HEALTH_MONITOR_PING": "ping",
    "HEALTH_MONITOR_HTTP": "http",
    "HEALTH_MONITOR_HTTPS": "https",
    "HEALTH_MONITOR_FTP": "ftp",
    "HEALTH_MONITOR_EXTERNAL": "external",
}
FIELDS: dict[Kind, str] = {
    "tcp": "tcp_monitor",
    "udp": "udp_monitor",
    "http": "http_monitor",
    "https": "https_monitor",
    "ftp": "ftp_monitor",
    "external": "external_monitor",
}
"""Where their settings are."""

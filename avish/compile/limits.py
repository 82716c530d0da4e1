"""Rates and numbers of connections that profiles, services and pools allow."""

from __future__ import annotations

from avish.config.config import Body, Config
from dataplane.model import Limits, Period, Rate, ServerLimits

_PERIODS: tuple[tuple[Period, int], ...] = (
    ("second", 1),
    ("minute", 60),
    ("hour", 3600),
    ("day", 86_400),
    ("week", 604_800),
)
_REPORT_ONLY = "RL_ACTION_NONE"
_RESET = "RL_ACTION_RESET_CONN"


def service_limits(config: Config, body: Body) -> Limits:
    """Of all clients of a virtual service together, and of each."""
    profile = config.target(body.get("application_profile_ref")) or {}
    per_client = profile.get("dos_rl_profile", {}).get("rl_profile", {}).get("client_ip_connections_rate_limit")
    most = body.get("max_cps_per_client", 0)
    return Limits(
        rate=rate_of(body.get("connections_rate_limit")),
        client_rate=Rate(most, burst=most) if most else rate_of(per_client),
        connections=body.get("performance_limits", {}).get("max_concurrent_connections", 0),
    )


def server_limits(pool: Body) -> ServerLimits:
    """Of each server of a pool."""
    return ServerLimits(
        pool.get("max_concurrent_connections_per_server", 0), rate_of(pool.get("max_conn_rate_per_server"))
    )


def rate_of(profile: Body | None) -> Rate | None:
    """A rate profile as the kernel counts; None when nothing is to be done about what is above it."""
    limiter = (profile or {}).get("rate_limiter")
    action = (profile or {}).get("action", {}).get("type", _REPORT_ONLY)
    if limiter is None or action == _REPORT_ONLY:
        return None
    count, period = in_period(limiter["count"], limiter["period"])
    return Rate(count, period, max(limiter["count"], limiter.get("burst_sz", 0)), reset=action == _RESET)


def in_period(count: int, seconds: int) -> tuple[int, Period]:
    """The same rate over a period that the kernel knows: exact in the shortest that allows it, else rounded down."""
    for name, length in _PERIODS:
        if count * length % seconds == 0:
            return count * length // seconds, name
    name, length = _PERIODS[-1]
    return max(1, count * length // seconds), name

"""Who may do what: the one place that decides. Until there are roles, ``admin`` may do all and others nothing."""

from __future__ import annotations

from avish.api.request import Request
from avish.errors import ValidationError

SUPERUSER = "admin"
SYSTEM = "system"
"""The controller itself, as the author of changes nobody asked for."""


def authorise(request: Request) -> None:
    """Raises ValidationError (403) when the request's user may not make it."""
    if request.user != SUPERUSER:
        who = repr(request.user) if request.user else "an unknown user"
        raise ValidationError(
            f"{who} may not use this controller: it serves {SUPERUSER} (root on this machine)", status=403
        )

"""Who may do what: the one place that decides.

Until there are roles, whoever the socket lets in may do all: root, who is ``admin``, and the members of group avish.
"""

from __future__ import annotations

from avish.api.request import Request
from avish.errors import ValidationError

SUPERUSER = "admin"
SYSTEM = "system"
"""The controller itself, as the author of changes nobody asked for."""


def authorise(request: Request) -> None:
    """Raises ValidationError (403) when the request's user may not make it."""
    if not request.user:
        raise ValidationError("the system does not know the user who asks", status=403)

"""Which function answers which command, and which gives the runtime in lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from avish.config.config import Body
from avish.errors import SchemaError
from avish.operate import pool, serviceengine, virtualservice
from avish.operate.view import View
from avish.schema.model import Schema

Read = Callable[[View, Body], Any]

RUN: Mapping[str, Read] = {
    "se.summary": serviceengine.summary,
    "se.vshash": serviceengine.vshash,
    "se.natpolicystat": serviceengine.natpolicystat,
    "se.nat_flows": serviceengine.nat_flows,
    "se.route_flows": serviceengine.route_flows,
    "se.network_service": serviceengine.network_service,
    "se.route": serviceengine.route,
    "se.arptable": serviceengine.arptable,
    "se.interface_summary": serviceengine.interface_summary,
    "vs.summary": virtualservice.summary,
    "pool.summary": pool.summary,
    "pool.server_summary": pool.server_summary,
}
"""By the ``run`` of a command in the grammar."""

RUNTIME: Mapping[str, Read] = {
    "serviceengine": lambda view, body: {"oper_status": serviceengine.oper_status(view, body)},
    "virtualservice": virtualservice.runtime,
    "pool": pool.runtime,
}
"""By object type."""


def lint(schema: Schema) -> None:
    """Raises SchemaError when the grammar names a command that nothing answers."""
    for command in schema.commands:
        if command.run and command.run not in RUN:
            raise SchemaError(f"commands: {' '.join(command.path)}: run: unknown function {command.run!r}")

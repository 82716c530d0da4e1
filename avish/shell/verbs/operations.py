"""Verbs that ask the engines, and the controller's own records."""

from __future__ import annotations

from collections.abc import Callable

from avish.errors import ApplyError
from avish.shell.effects import Call
from avish.shell.session import Order, Run, Session
from avish.shell.showing import answer

HTTP_PORT = 80


def _probe(kind: str) -> Callable[[Session, Order], Run]:
    """A verb that reaches for an address from an engine."""

    def verb(session: Session, order: Order) -> Run:
        engine = yield from session.existing(session.tree.schema.object("serviceengine"), order.args["serviceengine"])
        query = {"kind": kind, "address": order.args["address"]["addr"]}
        if kind == "tcp":
            query["port"] = str(order.args.get("port", HTTP_PORT))
        if "vrfcontext" in order.args:
            query["vrf"] = order.args["vrfcontext"]
        reply = yield from session.ask(Call("POST", f"/api/serviceengine/{engine['uuid']}/probe", query))
        yield from answer(reply.body, "\n".join(reply.body["line"]), order.walk)
        if not reply.body.get("reached", True):
            asked = f"port {query['port']} of {query['address']}" if kind == "tcp" else query["address"]
            raise ApplyError(f"{asked} was not reached from {order.args['serviceengine']}")

    return verb


ping = _probe("ping")
traceroute = _probe("traceroute")
tcp = _probe("tcp")

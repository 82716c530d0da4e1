"""``show top ...`` on a terminal: the table again and again, sorted as the keys say, until q."""

from __future__ import annotations

from avish.schema.model import Column
from avish.shell import listing, render
from avish.shell.effects import Call, Live
from avish.shell.session import Order, Run, Session

SECONDS = 2.0
HINT = "left and right or 1-9: sort by another column, space: look now, q: quit"
QUIT = ("q", "Q", "\x03", "\x04")


def live(session: Session, order: Order) -> Run:
    """Until q is pressed."""
    columns = order.command.columns
    place = _first(columns, order.options.get("sort", ""))
    count = order.options.get("count", 20)
    title = " ".join(order.command.path[1:])
    while True:
        query = {"count": str(count), **({"sort": columns[place].path} if place >= 0 else {})}
        body = (yield from session.ask(Call("GET", f"/api/{order.command.api}", query))).body
        place = _first(columns, body["sort"])
        head = f"{title}, sorted by {columns[place].title}   ({HINT})"
        text = f"{head}\n{render.columns_table(columns, listing.parts(body)[2])}"
        reply = yield Live(text, SECONDS)
        key = reply.body if reply is not None else QUIT[0]
        if key in QUIT:
            return
        place = _moved(place, key, len(columns))


def _first(columns: tuple[Column, ...], path: str) -> int:
    """The column of a path, -1 for none."""
    return next((number for number, column in enumerate(columns) if column.path == path), -1)


def _moved(place: int, key: str, number: int) -> int:
    if key in ("left", "right"):
        return (place + (1 if key == "right" else -1)) % number
    return int(key) - 1 if key.isdigit() and 0 < int(key) <= number else place

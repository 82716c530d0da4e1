"""Things behind those they need."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

One = TypeVar("One", bound=Hashable)


def _passed_over(way: list[One], needed: One) -> None:
    """Where they need each other, they come as they stand."""
    del way, needed


def ordered(
    given: Iterable[One],
    needs: Callable[[One], Iterable[One]],
    circle: Callable[[list[One], One], None] = _passed_over,
) -> Iterator[One]:
    """``given`` and what they need, each behind what it needs; depth first, without recursion.

    ``circle`` is told of one that is needed on the way to itself: the way there, the last of which needs it.
    """
    done: dict[One, bool] = {}
    for first in given:
        if first in done:
            continue
        done[first] = False
        stack = [(first, iter(needs(first)))]
        while stack:
            one, waiting = stack[-1]
            for other in waiting:
                if other not in done:
                    done[other] = False
                    stack.append((other, iter(needs(other))))
                    break
                if not done[other]:
                    circle([each for each, _ in stack], other)
            else:
                done[one] = True
                stack.pop()
                yield one

"""How much a request that is being served matters, as the program says: what `Shed` goes by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from escala.kernel.context import Request
from escala.resilience.user_function import check

Priority: TypeAlias = Callable[[Any], int]


def prioritised(priority: Priority | None, *, where: str) -> Callable[[Request], None]:
    """What gives a request its priority; without a function that stays as it is.

    It is asked before anything else, so an error in it is raised and the request not served.
    """
    if priority is None:
        return _as_it_is
    check(priority, "priority", where=where)

    def give(request: Request) -> None:
        said: object = priority(request)
        if not isinstance(said, int):
            raise TypeError(f"{where}: priority: expected a whole number, found {said!r}")
        request.priority = said

    return give


def _as_it_is(_: Request) -> None:
    return

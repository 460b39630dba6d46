"""Whether a call may be made more than once."""

from __future__ import annotations

from escala.kernel.context import Request


def may_repeat(request: Request | None, *, unsafe: bool = False) -> bool:
    """Whether retry and hedge may send this again; `unsafe` asks for what is not idempotent too.

    A plain call, with no request, may be: who decorates a function knows whether it may run twice.
    """
    if request is None:
        return True
    return request.repeatable and (unsafe or request.idempotent is not False)

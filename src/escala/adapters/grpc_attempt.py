"""What the gRPC clients of both colours share: time left, and what an error says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import grpc

from escala.adapters.failed_attempt import failed
from escala.adapters.pure.grpc_words import FAILURES, PUSHBACK, come_back
from escala.errors import DeadlineExceeded
from escala.kernel.context import remaining
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.resilience.time_limit import time_is_up
from escala.resilience.user_function import check, yes_or_no

Marks: TypeAlias = Callable[[str], bool]


def none_is(_method: str) -> bool:
    """No method may be repeated, unless someone says so."""
    return False


class Details(grpc.ClientCallDetails):  # type: ignore[misc]  # grpc has no types
    """The details of a call, with no more time than is left."""

    def __init__(self, given: Any, now: float) -> None:  # noqa: ANN401  either colour's
        for name in ("method", "metadata", "credentials", "wait_for_ready", "compression"):
            setattr(self, name, getattr(given, name, None))
        left = max(remaining(now), 0.001)
        own = given.timeout
        self.timeout = own if left == math.inf else left if own is None else min(own, left)


def seen(error: Any, now: float) -> Exception | None:  # noqa: ANN401  either colour's
    """How policies see an error: the deadline, a failure, or None for an answer."""
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and time_is_up(now):
        late = DeadlineExceeded(
            "the service did not answer before the deadline; give the call more time, "
            "or find what makes it slow"
        )
        late.__cause__ = error
        return late
    if code is None or code.name not in FAILURES:
        return None
    trailers = error.trailing_metadata() or ()
    asked = [str(value) for name, value in trailers if name == PUSHBACK]
    return failed(error, come_back(asked[0]) if asked else None)


def guards(policies: Iterable[Policy]) -> Stack:
    """Those that never repeat: what a stream, once open, can be under."""
    return Stack(*(each for each in policies if not each.repeats))


def marks(idempotent: Marks, *, where: str) -> Marks:
    """The same, of which only a plain yes means that a method may run twice."""
    check(idempotent, "idempotent", where=where)
    return lambda method: yes_or_no(idempotent(method))

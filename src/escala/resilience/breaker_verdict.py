"""What the end of a call says about the dependency: that it works, that it fails, or nothing."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeAlias

from escala.errors import DeadlineExceeded, Rejected, WouldBlock
from escala.resilience.failure_kinds import Failures, matches
from escala.resilience.failure_status import FailureStatus, status_of_error, status_of_result
from escala.resilience.time_limit import time_is_up

Judge: TypeAlias = Callable[[Any], bool]

EVERY_ERROR = (Exception,)
_NOT_ITS_FAULT = (Rejected, WouldBlock)


class Verdict(enum.Enum):
    """What a breaker, an adaptive limit and a throttle count."""

    WELL = "it works"
    FAILED = "it fails"
    NOTHING = "it says nothing"


def judge_with(statuses: tuple[FailureStatus, ...], judge: Judge | None) -> Judge:
    """A judge that goes by the status of an answer, and asks `judge` about one without."""

    def failed(result: object) -> bool:
        status = status_of_result(result)
        if status is not None:
            return any(status in each for each in statuses)
        return judge is not None and judge(result)

    return failed


def errors_with(statuses: tuple[FailureStatus, ...], on: Failures) -> Callable[[Exception], bool]:
    """A predicate that goes by the status an error tells, and by `on` for one without."""

    def failed(error: Exception) -> bool:
        status = status_of_error(error)
        if status is not None:
            return any(status in each for each in statuses)
        return matches(error, on)

    return failed


def verdict(error: BaseException, on: Failures, now: float) -> Verdict:
    """What an error says: nothing if it ends a task or comes from a limit, not from the call."""
    if not isinstance(error, Exception) or isinstance(error, _NOT_ITS_FAULT):
        return Verdict.NOTHING
    if isinstance(error, DeadlineExceeded) and time_is_up(now):
        return Verdict.NOTHING
    return Verdict.FAILED if matches(error, on) else Verdict.WELL

"""Every limiter, made with one limit in as few words as possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from escala import FixedWindow, LeakyBucket, SlidingWindowCounter, SlidingWindowLog, TokenBucket
from escala.kernel.runtime import Parker, ThreadRuntime, colours
from escala.limiting import RateLimiter

LIMITERS: list[type[RateLimiter]] = [
    TokenBucket,
    LeakyBucket,
    SlidingWindowLog,
    SlidingWindowCounter,
    FixedWindow,
]
Make = Callable[..., Any]
every_limiter = pytest.mark.parametrize("make", LIMITERS, ids=lambda kind: kind.__name__)


class Alone(ThreadRuntime):
    """A thread by itself in virtual time: when it parks, nothing happens until its time is up."""

    def __init__(self, early: float = 0.0) -> None:
        self.time, self.early = 50.0, early
        super().__init__(now=lambda: self.time)

    def _block(self, seconds: float) -> None:
        self.time += seconds

    def parker(self) -> Parker:
        runtime = self

        class Place:
            async def park(self, timeout: float | None = None) -> bool:
                assert timeout is not None
                runtime.time += max(timeout - runtime.early, 0.0003)
                return False

            def unpark(self) -> bool:
                return True

        return Place()


@contextmanager
def alone(early: float = 0.0) -> Iterator[Alone]:
    """Sync calls run in such a thread."""
    runtime, before = Alone(early), colours.thread
    colours.thread = runtime
    try:
        yield runtime
    finally:
        colours.thread = before

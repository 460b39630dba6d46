"""The same test in both colours: a sync call blocks (which moves virtual time), a task suspends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from escala.kernel.policy import Policy

T = TypeVar("T")
Call = Callable[[Policy, Callable[[], T]], Coroutine[Any, Any, T]]


async def _sync(policy: Policy, fn: Callable[[], T]) -> T:
    return policy.call(fn)


async def _async(policy: Policy, fn: Callable[[], T]) -> T:
    async def afn() -> T:
        return fn()

    return await policy.acall(afn)


both_colours = pytest.mark.parametrize("call", [_sync, _async], ids=["sync", "async"])

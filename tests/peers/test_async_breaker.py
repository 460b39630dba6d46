"""An async call through one breaker object that serves both colours."""

from __future__ import annotations

import asyncio

import pybreaker
import pytest

from escala import CircuitBreaker


async def call() -> str:
    return "answer"


def test_pybreaker_needs_tornado_for_it() -> None:
    breaker = pybreaker.CircuitBreaker()
    with pytest.raises(NameError, match="gen"):
        asyncio.run(breaker.call_async(call))


def test_escala_serves_threads_and_tasks_with_one_object() -> None:
    breaker = CircuitBreaker()
    assert asyncio.run(breaker.acall(call)) == "answer"
    assert breaker.call(lambda: "answer") == "answer"

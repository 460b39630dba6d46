"""What type checkers see of the policies against overload; only `mypy` reads this file."""

from __future__ import annotations

import random
from typing import assert_type

from escala import (
    AdaptiveLimit,
    AdaptiveThrottle,
    Bulkhead,
    Request,
    Shed,
    Stack,
    ThreadBulkhead,
)
from escala.errors import Shed as ShedError


def by_path(request: Request | None) -> tuple[str, int] | None:
    return None if request is None else (request.key or "", request.priority)


front = Stack(
    Shed(8, queue=50, target="5ms", interval=0.2, rng=random.Random(1)),
    AdaptiveThrottle(multiple=1.5, window="1m", on=OSError, judge=lambda answer: answer is None),
    AdaptiveLimit(algorithm="aimd", target="50ms", on=lambda error: bool(error.args)),
    Bulkhead(2, queue=4, order="priority", key=by_path, max_keys=100),
)
pool = ThreadBulkhead(4, queue=10, wait="1s")


@pool
def query(table: str, *, limit: int = 10) -> list[str]:
    return [table] * limit


@front
def price(item: str) -> int:
    return len(item)


async def use() -> None:
    assert_type(await query("tea", limit=2), list[str])
    assert_type(await pool.run(len, "tea"), int)
    assert_type(price("tea"), int)
    await query(3)  # type: ignore[arg-type]
    await query("tea", unlimited=True)  # type: ignore[call-arg]
    try:
        price("tea")
    except ShedError as error:
        assert_type(error.retry_after, float | None)

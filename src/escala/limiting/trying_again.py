"""Waiting for tokens where no place ahead can be taken: come back when they should be there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from escala.kernel.runtime import Runtime
from escala.limiting.decision import Decision

Once = Callable[[float], Awaitable[tuple[Decision, float]]]


async def trying_again(
    once: Once, runtime: Runtime, wait: float, *, reserves: bool
) -> tuple[Decision, float]:
    """What `once(wait)` answers, asked again after each refusal that says a time within `wait`.

    Between processes those who wait so have no order: who comes back first is served first.
    """
    until = runtime.now() + wait
    while True:
        decision, sleep = await once(max(0.0, until - runtime.now()))
        if decision.allowed or reserves or decision.retry_after > until - runtime.now():
            return decision, sleep
        await runtime.sleep(decision.retry_after)

"""A stall of ten seconds under steady load: who is back afterwards, and who keeps it down."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

from docs.plots.drawing.figure import Figure
from escala import Policy, Retry, Stack, Timeout
from escala.errors import EscalaError
from escala.resilience import standard
from escala.testing import VirtualRuntime

LOAD, SERVICE = 80.0, 0.01  # calls a second, and seconds that each takes
STALL, END = (5.0, 15.0), 42


def draw(figure: Figure) -> None:
    """Show naive retries and `standard()` through the same stall."""
    panel = figure.panel(x="seconds", y="calls answered in time, per second")
    rng = Random(1)
    naive = Stack(Retry(4, budget=None, rng=rng), Timeout("1s"))
    for label, policy in {
        "standard(attempts=4, timeout=1s)": standard(attempts=4, timeout="1s", rng=rng),
        "Retry(4, budget=None), Timeout(1s)": naive,
    }.items():
        answered = _answered(policy)
        panel.steps(range(END), [answered[second] for second in range(END)], label)
    panel.level(LOAD, "offered")
    panel.span(*STALL, "the service stalls")
    panel.window, panel.height = (0, END), (0, 110)


def _answered(policy: Policy) -> Counter[int]:
    """Second to the calls that succeeded in it."""
    world, answered = VirtualRuntime(1), Counter[int]()
    free_at = 0.0

    async def service() -> None:
        """One call after the other, each to its end even when its caller has gone."""
        nonlocal free_at
        start = max(world.now(), free_at)
        if STALL[0] <= start < STALL[1]:
            start = STALL[1]
        free_at = start + SERVICE
        await world.sleep(free_at - world.now())

    async def caller() -> None:
        with contextlib.suppress(EscalaError):
            await policy.acall(service)
            answered[int(world.now())] += 1

    async def main() -> None:
        calls = []
        while world.now() < END:
            calls.append(asyncio.ensure_future(caller()))
            await world.sleep(world.rng.uniform(0.8, 1.2) / LOAD)
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return answered

"""One slow dependency takes all that a service has, or only its own part."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from docs.plots.drawing.figure import Figure
from escala import Bulkhead, Policy
from escala.errors import BulkheadFull
from escala.testing import VirtualRuntime

WORKERS, SLOTS, RATE, SECONDS = 20, 8, 20, 40  # calls a second to each of two dependencies
SLOW, USUAL = (10.0, 25.0), 0.05


def draw(figure: Figure) -> None:
    """Twenty workers serve two dependencies; for a time one of them takes 5 s a call."""
    healthy = figure.panel(
        "calls to the healthy one", x="seconds", y="answered per second (mean of 3 s)"
    )
    ill = figure.panel("calls to the slow one", x="seconds", y="answered per second (mean of 3 s)")
    for label, policy in {"one pool for both": None, "a bulkhead of 8 for each": Bulkhead}.items():
        answered = _answered(policy)
        for panel, counts in zip((healthy, ill), answered, strict=True):
            panel.line(
                range(1, SECONDS - 1),
                [sum(counts[at - 1 : at + 2]) / 3 for at in range(1, SECONDS - 1)],
                label,
            )
    for panel in (healthy, ill):
        panel.span(*SLOW, "one is slow")
        panel.window = (0, SECONDS)


def _answered(bulkhead: Callable[[int], Policy] | None) -> list[list[int]]:
    """For the healthy and the slow dependency: calls answered in each second."""
    world = VirtualRuntime(1)
    # A request waits at most 2 s for a worker, and then its client has left.
    workers = Bulkhead(WORKERS, queue=1000, wait=2.0)
    answered = [[0] * SECONDS, [0] * SECONDS]
    guards = [bulkhead(SLOTS), bulkhead(SLOTS)] if bulkhead else [None, None]

    async def work(which: int) -> None:
        slow = which and SLOW[0] <= world.now() < SLOW[1]
        await world.sleep(world.rng.expovariate(1 / (5.0 if slow else USUAL)))

    async def one(which: int) -> None:
        guard = guards[which]
        with contextlib.suppress(BulkheadFull):
            if guard is None:
                await workers.acall(work, which)
            else:
                await workers.acall(guard.acall, work, which)
            if world.now() < SECONDS:
                answered[which][int(world.now())] += 1

    async def main() -> None:
        calls = []
        while world.now() < SECONDS:
            calls.append(asyncio.ensure_future(one(world.rng.randrange(2))))
            await world.sleep(world.rng.expovariate(2 * RATE))
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return answered

"""Twice the load that a service can bear, with and without a decision on who is served."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random

from docs.plots.drawing.figure import Figure
from escala import Bulkhead, Policy, Request
from escala.errors import EscalaError
from escala.kernel.context import serving
from escala.resilience import Shed
from escala.testing import VirtualRuntime

SLOTS, WORK, SECONDS = 10, 0.05, 40  # 200 calls a second
LOAD = ((0.0, 10.0, 120), (10.0, 30.0, 400), (30.0, 40.0, 120))
PATIENCE = 1.0  # seconds, after which an answer is of no use
SHARES = {1: 0.3, 0: 0.7}  # of the calls, by priority: the greater number matters more


def draw(figure: Figure) -> None:
    """Show the useful answers of each priority: a plain queue against shedding."""
    for title, policy in {
        "a queue of 1,000": Bulkhead(SLOTS, queue=1000),
        "Shed(10)": Shed(SLOTS, rng=Random(1)),
    }.items():
        panel = figure.panel(title, x="seconds", y="answers within 1 s, per second")
        answered = _answered(policy)
        for priority, label in ((1, "priority 1"), (0, "priority 0")):
            counts = [answered[priority, second] for second in range(SECONDS)]
            panel.steps(range(SECONDS), counts, label)
        panel.span(*LOAD[1][:2], "twice the capacity")
        panel.window, panel.height = (0, SECONDS), (0, 230)


def _answered(policy: Policy) -> Counter[tuple[int, int]]:
    """Priority and second to the answers that came in time."""
    world, answered = VirtualRuntime(1), Counter[tuple[int, int]]()

    async def work() -> None:
        await world.sleep(world.rng.expovariate(1 / WORK))

    async def one(priority: int) -> None:
        begun = world.now()
        with contextlib.suppress(EscalaError), serving(Request(priority=priority)):
            await policy.acall(work)
            if world.now() - begun <= PATIENCE:
                answered[priority, int(world.now())] += 1

    async def main() -> None:
        calls = []
        for _, end, rate in LOAD:
            while world.now() < end:
                priority = 1 if world.rng.uniform(0, 1) < SHARES[1] else 0
                calls.append(asyncio.ensure_future(one(priority)))
                await world.sleep(world.rng.expovariate(rate))
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return answered

"""A far side that serves half of the load for a while: what it gets, and what it serves."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from docs.plots.drawing.figure import Figure
from escala import AdaptiveThrottle, Policy, Stack
from escala.errors import Shed
from escala.testing import VirtualRuntime

RATE, SECONDS = 200, 110  # calls a second
HALF, USUAL, LESS = (20.0, 80.0), 300.0, 100.0  # units of work a second
SERVED, REFUSED = 1.0, 0.3  # units of work: to say no costs something too


class FarSide:
    """Does a bounded amount of work each second, and refuses what is more than that."""

    def __init__(self, world: VirtualRuntime) -> None:
        self.world = world
        self.sent, self.served = [0] * SECONDS, [0] * SECONDS
        self._left, self._at = 0.0, 0.0

    async def call(self) -> None:
        """Serve or refuse, for as long as there is work left to give."""
        now = self.world.now()
        rate = LESS if HALF[0] <= now < HALF[1] else USUAL
        self._left = min(rate / 10, self._left + rate * (now - self._at))
        self._at = now
        self.sent[int(now)] += 1
        if self._left >= SERVED:
            self._left -= SERVED
            self.served[int(now)] += 1
            return
        self._left = max(0.0, self._left - REFUSED)
        raise ConnectionError


def draw(figure: Figure) -> None:
    """Show what is sent and what is served, with the throttle and without."""
    sent = figure.panel("what is sent", x="seconds", y="calls per second (mean of 3 s)")
    served = figure.panel("what is served", x="seconds", y="calls per second (mean of 3 s)")
    for label, policy in {
        "no throttle": Stack(),
        "AdaptiveThrottle()": AdaptiveThrottle(rng=Random(1)),
    }.items():
        far = _run(policy)
        for panel, counts in ((sent, far.sent), (served, far.served)):
            times = range(1, SECONDS - 1)
            panel.line(times, [sum(counts[at - 1 : at + 2]) / 3 for at in times], label)
    for panel in (sent, served):
        panel.span(*HALF, "it can serve half")
        panel.window, panel.height = (0, SECONDS), (0, 230)


def _run(policy: Policy) -> FarSide:
    world = VirtualRuntime(1)
    far = FarSide(world)

    async def one() -> None:
        with contextlib.suppress(ConnectionError, Shed):
            await policy.acall(far.call)

    async def main() -> None:
        calls = []
        for at in range(RATE * SECONDS):
            calls.append(asyncio.ensure_future(one()))
            await world.sleep((at + 1) / RATE - world.now())
        await asyncio.gather(*calls)

    world.run(main())
    world.close()
    return far

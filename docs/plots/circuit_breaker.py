"""The circuit breaker: what callers and a dependency feel of an outage, and the states."""

from __future__ import annotations

import asyncio
import contextlib

from docs.plots.drawing.figure import Figure
from escala import CircuitBreaker, Policy, Stack, Timeout
from escala.errors import EscalaError
from escala.kernel.runtime import Runtime
from escala.resilience.pure.breaker_table import TRANSITIONS
from escala.testing import VirtualRuntime

SECONDS, RATE = 45, 20
DOWN = (10.0, 30.0)


class Outage:
    """One run: so many calls a second through a policy, to a dependency that hangs for a time."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.waited: list[list[float]] = [[] for _ in range(SECONDS)]
        self.reached = [0] * SECONDS

    async def dependency(self, world: Runtime) -> None:
        """Answer after 50 ms, or not at all."""
        self.reached[int(world.now())] += 1
        down = DOWN[0] <= world.now() < DOWN[1]
        await world.sleep(3600 if down else 0.05)

    async def caller(self, world: Runtime, second: int) -> None:
        """Call once, and note how long it took."""
        began = world.now()
        with contextlib.suppress(EscalaError):
            await self.policy.acall(self.dependency, world)
        self.waited[second].append(world.now() - began)

    def run(self) -> Outage:
        """Send all calls, evenly."""
        world = VirtualRuntime()

        async def main() -> None:
            calls = []
            for at in range(SECONDS * RATE):
                calls.append(asyncio.ensure_future(self.caller(world, at // RATE)))
                await world.sleep((at + 1) / RATE - world.now())
            await asyncio.gather(*calls)

        world.run(main())
        return self


def draw(figure: Figure) -> None:
    """Show an outage of twenty seconds with and without a breaker around the timeout."""
    breaker = CircuitBreaker(failure_rate="50%", window="10s", minimum_calls=20, cooldown="5s")
    runs = {
        "timeout of 1 s": Outage(Timeout("1s")).run(),
        "breaker around it": Outage(Stack(breaker, Timeout("1s"))).run(),
    }
    waits = figure.panel("callers", x="seconds", y="mean seconds until they know")
    calls = figure.panel("the dependency", x="seconds", y="calls that reach it, per second")
    for label, run in runs.items():
        waits.steps(range(SECONDS), [sum(each) / len(each) for each in run.waited], label)
        calls.steps(range(SECONDS), run.reached, label)
    for panel in (waits, calls):
        panel.window = (0, SECONDS)
        panel.span(*DOWN, "it hangs")


def draw_states(figure: Figure) -> None:
    """Draw the machine's own table."""
    figure.states(TRANSITIONS)

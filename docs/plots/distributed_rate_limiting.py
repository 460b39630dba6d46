"""What passes while the store is away, by what `away` says."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from docs.plots.drawing.figure import Figure
from escala import TokenBucket
from escala.errors import StoreUnavailable
from escala.kernel.runtime import Runtime, colours
from escala.limiting import Decision
from escala.limiting.away_ledger import AwayLedger
from escala.limiting.memory_ledger import MemoryLedger
from escala.testing import VirtualRuntime

PLAN = TokenBucket("100/s", burst=10).plan
ASKED, SECONDS, BIN = 200, 8, 0.25
GOES, RETURNS, NODES = 2.0, 5.0, 2


class Store(MemoryLedger):
    """Counts for all; does not answer for three seconds."""

    async def take(
        self,
        key: Hashable,
        cost: int,
        runtime: Runtime,
        wait: float = 0.0,
    ) -> tuple[Decision, float]:
        """Take tokens, or fail."""
        if GOES <= runtime.now() < RETURNS:
            raise StoreUnavailable("away")
        return await super().take(key, cost, runtime, wait)


def passed(away: Literal["local", "open", "closed"]) -> list[float]:
    """Calls a second that pass in all processes together, in each part of the time."""
    world, store = VirtualRuntime(), Store(PLAN)
    nodes = [AwayLedger(store, PLAN, away=away, max_keys=10, nodes=NODES) for _ in range(NODES)]
    counts = [0] * int(SECONDS / BIN)

    async def main() -> None:
        for number in range(ASKED * SECONDS):
            node = nodes[number % NODES]
            decision, _ = await node.take("all", 1, colours.loop)
            counts[min(int(world.now() / BIN), len(counts) - 1)] += decision.allowed
            await world.sleep(1 / ASKED)

    world.run(main())
    world.close()
    return [count / BIN for count in counts]


def draw(figure: Figure) -> None:
    """Calls that pass each second, 200 asked, while the store is away for three seconds."""
    panel = figure.panel(x="seconds", y="calls a second that pass")
    times = [number * BIN for number in range(int(SECONDS / BIN))]
    ways: tuple[Literal["local", "open", "closed"], ...] = ("local", "open", "closed")
    for away in ways:
        panel.steps(times, passed(away), f'away="{away}"')
    panel.span(GOES, RETURNS, "the store is away")

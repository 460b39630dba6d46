"""How long callers wait for a service of which one call in ten hangs."""

from __future__ import annotations

from random import Random

from docs.plots.drawing.figure import Figure
from escala import Deadline, Retry, Stack, Timeout
from escala.testing import VirtualRuntime

CALLS, HANGS, HANG, USUAL = 10_000, 0.1, 30.0, 0.05
SHARES = (50, 80, 89, 91, 95, 98, 98.9, 99.1, 99.5, 99.9)


def draw(figure: Figure) -> None:
    """Waits by percentile: without a limit, with one for each attempt, and with one for all."""
    panel = figure.panel(x="percentile", y="seconds that the caller waits")
    for label, stack in {
        "no limit": Stack(),
        "Retry(4) around Timeout('1s')": Stack(_retry(), Timeout("1s")),
        "Deadline('1.5s') around both": Stack(Deadline("1.5s"), _retry(), Timeout("1s")),
    }.items():
        waits, answered = _waits(stack)
        at = [waits[int(CALLS * share / 100)] for share in SHARES]
        panel.line(range(len(SHARES)), at, f"{label}: {100 * answered / CALLS:.1f} % answered")
    panel.log = True
    panel.ticks = [(float(nth), f"p{share:g}") for nth, share in enumerate(SHARES)]


def _retry() -> Retry:
    return Retry(4, base="50ms", budget=None, rng=Random(1))


def _waits(stack: Stack) -> tuple[list[float], int]:
    """All waits, sorted, and how many of them were not in vain."""
    world, answered = VirtualRuntime(2), 0
    waits: list[float] = []

    async def service() -> None:
        hangs = world.rng.random() < HANGS
        await world.sleep(HANG if hangs else world.rng.lognormvariate(0, 0.3) * USUAL)

    async def main() -> None:
        nonlocal answered
        for _ in range(CALLS):
            begun = world.now()
            try:
                await stack.acall(service)
                answered += 1
            except TimeoutError:
                pass
            waits.append(world.now() - begun)

    world.run(main())
    world.close()
    return sorted(waits), answered

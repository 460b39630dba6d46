"""What callers get while a service is away: nothing, a last good value, or a fixed one."""

from __future__ import annotations

from collections import Counter
from random import Random

from docs.plots.drawing.figure import Figure
from escala import Fallback, Request
from escala.kernel.context import serving
from escala.testing import VirtualRuntime

END, AWAY, BACK, RATE, ITEMS = 60, 10, 45, 50, 200
FRESH, OLD, FIXED = "fresh", "the last good value", "the fixed value"


def draw(figure: Figure) -> None:
    """Where the answers of each second come from."""
    answers = _answers()
    panel = figure.panel(x="seconds", y="answers a second")
    for source in (FRESH, OLD, FIXED):
        panel.steps(range(END), [answers[source, second] for second in range(END)], source)
    panel.window, panel.height = (0, END), (0, RATE * 1.25)
    panel.span(AWAY, BACK, "the service is away")


def _answers() -> Counter[tuple[str, int]]:
    """How many answers came from where in each second."""
    world, rng = VirtualRuntime(), Random(1)
    prices = Fallback(value=FIXED, last_good="20s", key="key")
    told: Counter[tuple[str, int]] = Counter()

    @prices
    async def price() -> str:
        if AWAY <= world.now() < BACK:
            raise ConnectionError
        return FRESH

    async def main() -> None:
        while world.now() < END:
            item = int(ITEMS * rng.random() ** 3)  # some are asked for much more often
            away = AWAY <= world.now() < BACK
            with serving(Request(key=str(item))):
                found = await price()
            source = OLD if away and found == FRESH else found
            told[source, int(world.now())] += 1
            await world.sleep(1 / RATE)

    world.run(main())
    world.close()
    return told

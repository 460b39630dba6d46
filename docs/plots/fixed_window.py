"""The same burst around the end of a window, and what each rule lets through."""

from __future__ import annotations

from docs.plots.drawing.figure import Figure
from escala import FixedWindow, RateLimiter, SlidingWindowCounter, SlidingWindowLog, TokenBucket
from escala.testing import VirtualRuntime

LIMIT = "100/min"
BURST, STEP = (50.0, 70.0), 0.1


def draw(figure: Figure) -> None:
    """Calls admitted within the last minute: a limit of 100 a minute should keep them at 100."""
    panel = figure.panel(x="seconds", y="admitted within the last 60 s")
    for make in (FixedWindow, SlidingWindowCounter, SlidingWindowLog, TokenBucket):
        limiter = make(LIMIT)
        admitted = _admitted(limiter)
        times = [second / 2 for second in range(90, 181)]
        panel.line(times, [_within(admitted, time) for time in times], type(limiter).__name__)
    panel.level(100, "100/min")
    panel.span(*BURST, "10 calls a second")
    panel.height = (0, 215)


def _admitted(limiter: RateLimiter) -> list[float]:
    """When calls passed: one at 0 s, which opens the window, then ten a second for 20 s."""
    world = VirtualRuntime()
    passed = []

    async def main() -> None:
        for begin, end in ((0.0, STEP), BURST):
            await world.sleep(begin - world.now())
            while world.now() < end - STEP / 2:
                if (await limiter.aacquire()).allowed:
                    passed.append(world.now())
                await world.sleep(STEP)

    world.run(main())
    world.close()
    return passed


def _within(admitted: list[float], time: float) -> int:
    return sum(time - 60 < each <= time for each in admitted)

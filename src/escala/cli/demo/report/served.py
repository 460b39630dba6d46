"""Chart: who answered, from the bottom up: the cache, the shop, a refusal, nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from escala.cli.demo.half import Half
from escala.cli.demo.outcome import FROM_CACHE, Outcome
from escala.cli.demo.report import series, svg
from escala.cli.demo.report.frame import Frame

LAYERS: tuple[tuple[str, str, Callable[[Outcome], bool]], ...] = (
    ("cache", "from the cache", lambda o: o.ok and o.cache in FROM_CACHE),
    ("shop", "from the shop", lambda o: o.ok and o.cache not in FROM_CACHE),
    ("refused", "refused by a policy", lambda o: not o.admitted),
    ("failed", "failed", lambda o: o.failed),
)


def most(halves: Sequence[Half]) -> float:
    """The highest rate of any half, so that they share one scale."""
    seconds = max((Frame(half.phases, 0).seconds for half in halves), default=1.0)
    return max(
        (
            len(part) / series.width(seconds)
            for half in halves
            for part in series.stretches(half.outcomes, seconds)
        ),
        default=1.0,
    )


def served_chart(half: Half, highest: float) -> str:
    """Stacked bars of requests a second; the line is what reached the shop, retries included."""
    frame = Frame(half.phases, 120)
    top = _round_up(highest)
    step = series.width(frame.seconds)
    bars = []
    for number, part in enumerate(series.stretches(half.outcomes, frame.seconds)):
        left, right = frame.x(number * step), frame.x((number + 1) * step)
        base = 0.0
        for name, _, belongs in LAYERS:
            rate = sum(map(belongs, part)) / step
            if rate:
                upper, lower = frame.y((base + rate) / top), frame.y(base / top)
                bars.append(svg.box(left, upper, right - left - 0.6, lower - upper, name))
                base += rate
    reached = series.rates(half.samples, frame.seconds, lambda sample: sample.reached)
    steps = [
        (frame.x(edge * step), frame.y(rate / top))
        for number, rate in enumerate(reached)
        for edge in (number, number + 1)
    ]
    return svg.picture(
        400,
        frame.total,
        f"Requests per second and who answered them, {half.name}",
        frame.bands(),
        *(frame.grid(share, f"{top * share:,.0f}") for share in (0, 0.5, 1)),
        *bars,
        svg.path(steps if half.samples else [], "reached"),
        frame.axis(),
    )


def _round_up(value: float) -> float:
    """The next 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * factor for factor in (1, 2, 4, 6, 8, 10) if power * factor >= value)

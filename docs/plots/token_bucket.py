"""What a client may do with what a quiet moment has saved."""

from __future__ import annotations

from docs.plots.drawing.figure import Figure
from escala import TokenBucket
from escala.testing import VirtualRuntime

OFFERED = ((0.0, 2.0, 20), (2.0, 4.0, 0), (4.0, 6.0, 20))  # from, to, calls a second


def draw(figure: Figure) -> None:
    """Twice the rate is offered, with a pause between: the bucket empties, and fills again."""
    left = figure.panel("in the bucket", x="seconds", y="tokens left")
    passed = figure.panel("what passes", x="seconds", y="calls since the beginning")
    for burst in (10, 1):
        tokens, calls = _run(TokenBucket("10/s", burst=burst))
        left.steps([at for at, _ in tokens], [n for _, n in tokens], f"10/s, burst={burst}")
        passed.steps([at for at, _ in calls], [n for _, n in calls], f"10/s, burst={burst}")
    for panel in (left, passed):
        panel.span(2.0, 4.0, "a pause")
        panel.window = (0, 6)


def _run(bucket: TokenBucket) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    world = VirtualRuntime()
    tokens: list[tuple[float, float]] = []
    calls: list[tuple[float, float]] = []

    async def main() -> None:
        count = 0
        for begin, end, rate in OFFERED:
            for step in range(40):
                await world.sleep(begin + step * (end - begin) / 40 - world.now())
                if rate:
                    count += (await bucket.aacquire()).allowed
                tokens.append((world.now(), (await bucket.apeek()).remaining))
                calls.append((world.now(), count))

    world.run(main())
    world.close()
    return tokens, calls

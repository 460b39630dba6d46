"""Chart: which share of the admitted requests was served, and how much was lost."""

from __future__ import annotations

from escala.cli.demo.figures import success
from escala.cli.demo.half import Half
from escala.cli.demo.report import series, svg
from escala.cli.demo.report.frame import Frame


def success_chart(half: Half) -> str:
    """A line from 0 to 100 %; what is missing from 100 % is filled."""
    frame = Frame(half.phases, 84)
    step = series.width(frame.seconds)
    tops: list[svg.Point] = []
    for number, part in enumerate(series.stretches(half.outcomes, frame.seconds)):
        if part:
            y = frame.y(success(part))
            tops += [(frame.x(number * step), y), (frame.x((number + 1) * step), y)]
    lost = [(tops[0][0], frame.y(1)), *tops, (tops[-1][0], frame.y(1))] if tops else []
    return svg.picture(
        400,
        frame.total,
        f"Success over time, {half.name}",
        frame.bands(),
        *(frame.grid(share / 100, f"{share} %") for share in (0, 50, 100)),
        svg.path(lost, "lost", close=True),
        svg.path(tops, "line"),
        frame.axis(),
    )

"""Chart: a few counts as bars that share a scale, each with its number."""

from __future__ import annotations

from collections.abc import Sequence

from escala.cli.demo.report import svg

_LEFT, _RIGHT, _BAR, _STEP = 64.0, 48.0, 18.0, 26.0

Bar = tuple[str, int, str]
"""A name, a count, and the kind of the bar, which is its colour."""


def bars_chart(title: str, bars: Sequence[Bar], most: int) -> str:
    """One bar below the other; one of `most` would fill the width."""
    parts = []
    for number, (name, count, kind) in enumerate(bars):
        top = 4 + number * _STEP
        width = (400 - _LEFT - _RIGHT) * count / max(1, most)
        parts += [
            svg.text(name, _LEFT - 6, top + 13, class_="label quiet", anchor="end"),
            svg.box(_LEFT, top, width, _BAR, kind),
            svg.text(f"{count:,}", _LEFT + width + 6, top + 13, class_="label strong"),
        ]
    return svg.picture(400, 4 + len(bars) * _STEP, title, *parts)

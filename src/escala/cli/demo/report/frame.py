"""The part that all charts over time share: the time axis and the faults as shaded bands."""

from __future__ import annotations

import math
from dataclasses import dataclass

from escala.cli.demo.phases import Phase
from escala.cli.demo.report import svg

WIDTH = 400.0
LEFT, RIGHT = 42.0, 36.0
HEAD = 16.0  # where the names of the phases stand
FOOT = 16.0
_QUIET = ("calm", "back", "well", "after")
_LETTER = 6.0  # about the width of one at the size of the labels
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where time and the chart's own height are on the drawing."""

    phases: tuple[Phase, ...]
    height: float

    @property
    def seconds(self) -> float:
        """How long the schedule is."""
        return max(0.1, self.phases[-1].end if self.phases else 0.1)

    @property
    def bottom(self) -> float:
        """Where the plot ends and the time axis begins."""
        return HEAD + self.height

    @property
    def total(self) -> float:
        """The height of the whole drawing."""
        return self.bottom + FOOT

    def x(self, seconds: float) -> float:
        """The place of a moment; what is outside the schedule is put at its edge."""
        share = min(1.0, max(0.0, seconds / self.seconds))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, share: float) -> float:
        """The place of a value from 0 (bottom) to 1 (top)."""
        return self.bottom - min(1.0, max(0.0, share)) * self.height

    def bands(self) -> str:
        """What was done to the shop, and when."""
        parts = []
        for phase in self.phases:
            left, right = self.x(phase.start), self.x(phase.end)
            quiet = phase.name in _QUIET
            if not quiet:
                parts.append(svg.box(left, HEAD, right - left - 1, self.height, "band"))
            if len(phase.name) * _LETTER <= right - left:
                kind = "label quiet" if quiet else "label"
                middle = (left + right) / 2
                parts.append(svg.text(phase.name, middle, HEAD - 5, class_=kind, anchor="middle"))
        return "".join(parts)

    def axis(self) -> str:
        """Seconds, four to eight of them."""
        step = next((step for step in _STEPS if self.seconds / step <= 7), 7200)  # noqa: PLR2004
        marks = range(0, math.floor(self.seconds) + 1, step)
        last = marks[-1]
        return svg.line((LEFT, self.bottom), (WIDTH - RIGHT, self.bottom), "base") + "".join(
            svg.text(
                f"{mark} s" if mark == last else str(mark),
                self.x(mark),
                self.bottom + 12,
                class_="label quiet",
                anchor="middle",
            )
            for mark in marks
        )

    def grid(self, share: float, label: str) -> str:
        """A faint line across at a value, named at the left."""
        y = self.y(share)
        return svg.line((LEFT, y), (WIDTH - RIGHT, y), "grid") + svg.text(
            label, LEFT - 5, y + 3.5, class_="label quiet", anchor="end"
        )

"""What a picture shows, as plain data: a test can tell whether a drawn file is still true."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Protocol

_DIGITS = 5  # significant ones: more than a picture shows, fewer than rounding can change


class Step(Protocol):
    """One row of a machine's table; `before` is None where any state may come before."""

    @property
    def before(self) -> Enum | None:
        """The state that is left."""

    @property
    def after(self) -> Enum:
        """The state that is entered."""

    @property
    def when(self) -> str:
        """What must have happened."""


@dataclass
class Series:
    """One line, row of bars or set of points; `look` numbers its colour and dashes."""

    kind: str
    x: list[float]
    y: list[float]
    label: str
    look: int


@dataclass
class Panel:
    """One pair of axes."""

    title: str
    x: str
    y: str
    series: list[Series] = field(default_factory=list)
    levels: list[tuple[float, str]] = field(default_factory=list)
    spans: list[tuple[float, float, str]] = field(default_factory=list)
    window: tuple[float, float] | None = None
    height: tuple[float, float] | None = None
    log: bool = False
    ticks: list[tuple[float, str]] = field(default_factory=list)

    def line(self, x: Iterable[float], y: Iterable[float], label: str = "") -> None:
        """Join points."""
        self._add("line", x, y, label)

    def steps(self, x: Iterable[float], y: Iterable[float], label: str = "") -> None:
        """Hold each value until the next: counts, limits, states."""
        self._add("steps", x, y, label)

    def bars(self, x: Iterable[float], y: Iterable[float], label: str = "") -> None:
        """Evenly spaced columns, centred on `x`."""
        self._add("bars", x, y, label)

    def points(self, x: Iterable[float], y: Iterable[float], label: str = "") -> None:
        """Separate marks: one for each call."""
        self._add("points", x, y, label)

    def level(self, y: float, text: str) -> None:
        """A dashed line across, such as a limit."""
        self.levels.append((_rounded(y), text))

    def span(self, begin: float, end: float, text: str) -> None:
        """A shaded time, such as a stall."""
        self.spans.append((_rounded(begin), _rounded(end), text))

    def _add(self, kind: str, x: Iterable[float], y: Iterable[float], label: str) -> None:
        xs, ys = [_rounded(each) for each in x], [_rounded(each) for each in y]
        if not xs or len(xs) != len(ys):
            msg = f"{label or self.title}: expected as many x as y, found {len(xs)} and {len(ys)}"
            raise ValueError(msg)
        self.series.append(Series(kind, xs, ys, label, len(self.series)))


@dataclass
class Figure:
    """One picture: panels side by side, or a machine's states and steps."""

    title: str
    panels: list[Panel] = field(default_factory=list)
    steps: list[tuple[str | None, str, str]] = field(default_factory=list)

    def panel(self, title: str = "", *, x: str, y: str) -> Panel:
        """Add axes with these labels; name the unit in them."""
        panel = Panel(title, x, y)
        self.panels.append(panel)
        return panel

    def states(self, table: Sequence[Step]) -> None:
        """Draw the table of a machine."""
        self.steps = [
            (
                None if step.before is None else str(step.before.value),
                str(step.after.value),
                step.when,
            )
            for step in table
        ]

    def digest(self) -> str:
        """Short text that changes with anything that the picture shows."""
        data = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return sha256(data.encode()).hexdigest()[:16]


def _rounded(value: float) -> float:
    return float(f"{float(value):.{_DIGITS}g}")

"""Draws a machine's states from its table: numbered arrows, and beside them what each one means."""

from __future__ import annotations

import math
import textwrap
from typing import Any

from docs.plots.drawing.house_style import COLOURS, INK

Place = tuple[float, float]
Row = tuple[str | None, str, str]

_EDGE = 0.33  # inches from the middle of a state to where an arrow to itself begins
_LINE = 0.135  # inches from a line of text to the next
_WRAP = 58


def draw_states(sheet: Any, steps: list[Row]) -> None:
    """Fill the sheet; the arrows from a dot come from any state."""
    lines = [textwrap.wrap(when.replace("`", ""), _WRAP) for *_, when in steps]
    wide = sheet.get_size_inches()[0]
    high = max(2.4, 0.3 + _LINE * sum(len(each) + 0.35 for each in lines))
    sheet.set_size_inches(wide, high)
    sheet.set_layout_engine("none")
    ax = sheet.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, wide), ylim=(0, high))
    ax.axis("off")
    _legend(ax, lines, high)
    places = _places(steps, high)
    for name, place in places.items():
        ax.text(*place, name, ha="center", va="center", size=8, zorder=3, bbox=_box())
    for (before, after), numbers in _arrows(steps).items():
        label = ", ".join(map(str, numbers))
        if before is None:
            _from_anywhere(ax, places[after], _middle(places), label)
        elif before == after:
            _to_itself(ax, places[after], _middle(places), label)
        else:
            _between(ax, places[before], places[after], label)


def _legend(ax: Any, lines: list[list[str]], high: float) -> None:
    y = high - 0.22
    for number, wrapped in enumerate(lines, 1):
        ax.text(3.2, y, str(number), size=7, weight="bold", color=COLOURS[0], ha="right")
        for line in wrapped:
            ax.text(3.3, y, line, size=7)
            y -= _LINE
        y -= 0.35 * _LINE


def _arrows(steps: list[Row]) -> dict[tuple[str | None, str], list[int]]:
    arrows: dict[tuple[str | None, str], list[int]] = {}
    for number, (before, after, _) in enumerate(steps, 1):
        arrows.setdefault((before, after), []).append(number)
    return arrows


def _places(steps: list[Row], high: float) -> dict[str, Place]:
    """Those that lead to each other stand in a ring, the others in a row below it."""
    names = list(dict.fromkeys(name for step in steps for name in step[:2] if name))
    linked = {name for before, after, _ in steps if before for name in (before, after)}
    ring = [name for name in names if name in linked]
    row = [name for name in names if name not in linked]
    bottom = 0.75 if row else 0.0
    centre = (1.5, bottom + (high - bottom) / 2)
    reach = (0.85, min(0.95, (high - bottom) / 2 - 0.45))
    places = {}
    for nth, name in enumerate(ring):
        turn = 2 * math.pi * nth / len(ring) + math.pi * (1.0 if len(ring) == 2 else 5 / 6)
        places[name] = (
            centre[0] + reach[0] * math.cos(turn),
            centre[1] + reach[1] * math.sin(turn),
        )
    for nth, name in enumerate(row):
        places[name] = (3.0 * (nth + 0.5) / len(row), 0.3)
    return places


def _middle(places: dict[str, Place]) -> Place:
    return (
        sum(x for x, _ in places.values()) / len(places),
        sum(y for _, y in places.values()) / len(places),
    )


def _box() -> dict[str, Any]:
    return {"boxstyle": "round,pad=0.45", "facecolor": "#e3eef6", "edgecolor": COLOURS[0]}


def _between(ax: Any, start: Place, end: Place, label: str) -> None:
    """A bow, so that the way back has its own."""
    _arrow(ax, start, end, bow=0.22)
    (x0, y0), (x1, y1) = start, end
    bow = 0.19
    _number(ax, ((x0 + x1) / 2 + bow * (y1 - y0), (y0 + y1) / 2 - bow * (x1 - x0)), label)


def _from_anywhere(ax: Any, place: Place, middle: Place, label: str) -> None:
    outwards = 1 if place[1] >= middle[1] else -1
    if place[1] < 0.5:
        outwards = 1
    tail = (place[0], place[1] + outwards * 0.52)
    ax.plot(*tail, "o", color=INK, markersize=3)
    _arrow(ax, tail, place, bow=0.0, near=0.0)
    _number(ax, (tail[0] + 0.17, tail[1]), label, ha="left")


def _to_itself(ax: Any, place: Place, middle: Place, label: str) -> None:
    side = 1 if place[0] >= middle[0] else -1
    x, y = place[0] + side * _EDGE, place[1]
    bow = f"arc3,rad={-2.2 * side}"
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.0, "connectionstyle": bow}
    ax.annotate("", (x, y - 0.09), (x, y + 0.09), arrowprops=arrow)
    _number(ax, (x + side * 0.3, y), label)


def _arrow(ax: Any, start: Place, end: Place, *, bow: float, near: float = 15.0) -> None:
    how = {
        "arrowstyle": "-|>",
        "color": INK,
        "linewidth": 1.0,
        "shrinkA": near,
        "shrinkB": 15.0,
        "connectionstyle": f"arc3,rad={bow}",
    }
    ax.annotate("", end, start, arrowprops=how, zorder=2)


def _number(ax: Any, place: Place, label: str, ha: str = "center") -> None:
    ax.text(
        *place,
        label,
        size=7,
        weight="bold",
        color=COLOURS[0],
        ha=ha,
        va="center",
        zorder=4,
        bbox={"boxstyle": "round,pad=0.1", "facecolor": "#fcfcfa", "edgecolor": "none"},
    )

"""Write SVG elements as text, escaped, with numbers no longer than they need to be."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

Point = tuple[float, float]


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def tag(name: str, *inside: str, **attributes: str | float) -> str:
    """An element; `class_` and `text_anchor` become `class` and `text-anchor`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(inside)}</{name}>" if inside else f"<{name}{written}/>"


def text(content: str, x: float, y: float, *, class_: str = "", anchor: str = "start") -> str:
    """A line of text whose baseline starts, ends or is centred at a point."""
    return tag("text", escape(content), x=x, y=y, class_=class_, text_anchor=anchor)


def box(x: float, y: float, width: float, height: float, class_: str) -> str:
    """A rectangle; nothing when it would have no area."""
    if width <= 0 or height <= 0:
        return ""
    return tag("rect", x=x, y=y, width=width, height=height, class_=class_)


def line(start: Point, end: Point, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def path(points: Iterable[Point | None], class_: str, *, close: bool = False) -> str:
    """A line through points; `None` lifts the pen."""
    steps: list[str] = []
    down = False
    for point in points:
        if point is not None:
            steps.append(f"{'L' if down else 'M'}{number(point[0])} {number(point[1])}")
        down = point is not None
    if not steps:
        return ""
    return tag("path", d="".join(steps) + ("Z" if close else ""), class_=class_)


def picture(width: float, height: float, title: str, *inside: str) -> str:
    """A whole drawing that scales to its column; `title` is read to those who cannot see it."""
    return tag(
        "svg",
        tag("title", escape(title)),
        *inside,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
    )


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else number(value)

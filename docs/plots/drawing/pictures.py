"""Finds the pictures: each `docs/plots/<pattern>.py` holds those of one page of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from docs.plots.drawing.figure import Figure

PLOTS = Path(__file__).resolve().parent.parent
PICTURES = PLOTS.parent / "catalogue" / "pictures"
_DRAWN = re.compile(r"^<!-- drawn from ([0-9a-f]+) by `make plots` -->$", re.MULTILINE)


def names() -> list[str]:
    """The patterns that have pictures."""
    return sorted(file.stem for file in PLOTS.glob("*.py") if not file.stem.startswith("_"))


def drawings(name: str) -> dict[str, Callable[[Figure], None]]:
    """File name to function: `draw` makes `<pattern>.svg`, `draw_states` `<pattern>-states.svg`."""
    module = import_module(f"docs.plots.{name}")
    return {
        f"{name}{function.removeprefix('draw')}.svg".replace("_", "-"): draw
        for function, draw in vars(module).items()
        if function == "draw" or function.startswith("draw_")
    }


def drawn(file: str, draw: Callable[[Figure], None]) -> Figure:
    """What the function draws."""
    figure = Figure(title=file.removesuffix(".svg").replace("-", " "))
    draw(figure)
    return figure


def stamp(figure: Figure) -> str:
    """The comment that says from which data a file was drawn."""
    return f"<!-- drawn from {figure.digest()} by `make plots` -->"


def stamped(svg: str) -> str | None:
    """The digest in a drawn file."""
    found = _DRAWN.search(svg)
    return found[1] if found else None

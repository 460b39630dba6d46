"""Turns a figure into an SVG file, the same to the byte for the same figure."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Sheet

from docs.plots.drawing.figure import Figure, Panel, Series
from docs.plots.drawing.house_style import COLOURS, DASHES, FAINT, INK, METADATA, SETTINGS, SIZE
from docs.plots.drawing.pictures import stamp
from docs.plots.drawing.state_diagram import draw_states


def svg_of(figure: Figure) -> str:
    """The text of the file."""
    settings: Any = {**mpl.rcParamsDefault, **SETTINGS}
    with mpl.rc_context(settings):
        sheet = Sheet(figsize=SIZE, layout="constrained")
        if figure.steps:
            draw_states(sheet, figure.steps)
        else:
            axes = sheet.subplots(1, len(figure.panels), squeeze=False)[0]
            for panel, ax in zip(figure.panels, axes, strict=True):
                _draw(panel, ax)
            _legends(figure.panels, axes, sheet)
        out = io.StringIO()
        sheet.savefig(out, format="svg", metadata={**METADATA, "Title": figure.title})
    text = re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE)
    head, tag, body = text.partition("<svg ")
    return f"{head}{stamp(figure)}\n{tag}{body}"


def _draw(panel: Panel, ax: Any) -> None:
    for series in panel.series:
        _series(series, ax)
    for y, text in panel.levels:
        ax.axhline(y, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        _beside(ax, (1, y), ("axes fraction", "data"), text, ha="right", va="bottom")
    for begin, end, text in panel.spans:
        ax.axvspan(begin, end, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
        _beside(ax, ((begin + end) / 2, 1), ("data", "axes fraction"), text, ha="center", va="top")
    ax.set(xlabel=panel.x, ylabel=panel.y, title=panel.title)
    if panel.log:
        ax.set_yscale("log")
    if panel.ticks:
        ax.set_xticks([x for x, _ in panel.ticks], [text for _, text in panel.ticks])
    if panel.window:
        ax.set_xlim(*panel.window)
    if panel.height:
        ax.set_ylim(*panel.height)


def _legends(panels: list[Panel], axes: Any, sheet: Any) -> None:
    """One below all panels where they say the same, else one below each."""
    labels = [[series.label for series in panel.series] for panel in panels]
    if not any(labels[0]):
        return
    same = all(each == labels[0] for each in labels)
    for ax in axes[:1] if same else axes:
        names = ax.get_legend_handles_labels()
        if same:
            across = max(1, 110 // (8 + max(map(len, labels[0]))))
            sheet.legend(*names, loc="outside lower center", ncols=across, handlelength=2.4)
        else:
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handlelength=2.4)


def _beside(
    ax: Any, place: tuple[float, float], of: tuple[str, str], text: str, **how: str
) -> None:
    ax.annotate(text, place, xycoords=of, textcoords="offset points", xytext=(-2, 1), size=7, **how)


def _series(series: Series, ax: Any) -> None:
    colour = COLOURS[series.look % len(COLOURS)]
    dashes = DASHES[series.look % len(DASHES)]
    label = series.label or None
    if series.kind == "bars":
        width = min([b - a for a, b in zip(series.x, series.x[1:], strict=False)] or [1.0])
        alpha = 0.9 if series.look == 0 else 0.7
        ax.bar(series.x, series.y, width=width, color=colour, alpha=alpha, label=label)
    elif series.kind == "points":
        mark = "o^sxD"[series.look % 5]
        ax.plot(series.x, series.y, mark, color=colour, markersize=3, label=label)
    else:
        style = "steps-post" if series.kind == "steps" else "default"
        ax.plot(series.x, series.y, color=colour, linestyle=dashes, drawstyle=style, label=label)

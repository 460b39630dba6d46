"""Put report.html together: the verdict, the charts in pairs on one scale, the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from typing import Any

from escala.cli.demo.half import Half
from escala.cli.demo.report import served
from escala.cli.demo.report.database_chart import database_chart
from escala.cli.demo.report.latency import latency_chart, span
from escala.cli.demo.report.orders_chart import orders_chart
from escala.cli.demo.report.served import served_chart
from escala.cli.demo.report.success import success_chart
from escala.cli.demo.report.timeline import timeline_chart
from escala.cli.demo.report.verdict import how, lead, tiles
from escala.cli.demo.rows import ROWS, shown
from escala.cli.demo.traffic import Traffic

Figures = dict[str, Any]
TITLES = {"baseline": "plain round robin", "stack": "the stack"}


def page(traffic: Traffic, figures: Figures, halves: Sequence[Half]) -> str:
    """The whole page as text."""
    style = files("escala.cli.demo.report").joinpath("page.css").read_text()
    body = [
        lead(traffic, figures),
        tiles(figures),
        _pair(
            "Success",
            "Served, of the requests that no policy refused. The filled part was lost.",
            halves,
            success_chart,
        ),
        _pair(
            "Latency",
            "From when a request was due until its answer was complete, failed ones included. "
            "Each step up is ten times longer.",
            halves,
            partial(latency_chart, decades=span(halves)),
        ),
        _pair(
            "Who answered",
            "Requests per second, stacked. The line is what reached the shop, retries included.",
            halves,
            _answers(served.most(halves)),
        ),
        _pair(
            "What was done, and what the policies did",
            "A coloured stretch is an instance that was hurt on purpose; a thin bar below it, the "
            "time in which the gateway sent it nothing.",
            halves,
            partial(timeline_chart, others=halves),
            "".join(_events(half) for half in halves),
        ),
        _pair(
            "Orders",
            "An accepted order must be in the database afterwards, once.",
            halves,
            partial(orders_chart, halves=halves),
        ),
        _pair(
            "The shop's database",
            "Pages that reached the shop, and those that it had to read; views of a product, and "
            "the writes that counted them. What is spared is what its cache and its write-behind "
            "do, while prices change and no page may go on showing an old one.",
            halves,
            partial(database_chart, halves=halves),
        ),
        _section("All figures", _table(figures, halves)),
        _section("How it was run", how(traffic, figures)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Escala demo</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _section(title: str, *inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(inside)}</section>"


def _pair(
    title: str, says: str, halves: Sequence[Half], chart: Callable[[Half], str], *after: str
) -> str:
    columns = "".join(
        f"<div><h3>Behind <b>{TITLES.get(half.name, half.name)}</b></h3>{chart(half)}</div>"
        for half in halves
    )
    kind = "pair" if len(halves) > 1 else "pair one"
    note = f'<p class="note">{escape(says)}</p>'
    return _section(title, note, f'<div class="{kind}">{columns}</div>', *after)


def _answers(highest: float) -> Callable[[Half], str]:
    """The chart of who answered, with how often below it, which is its legend too."""

    def drawn(half: Half) -> str:
        sums = [
            f'<li style="--key: var(--{name})">{escape(label)} '
            f"<b>{sum(map(belongs, half.outcomes)):,}</b></li>"
            for name, label, belongs in served.LAYERS
        ]
        return served_chart(half, highest) + f'<ul class="sum">{"".join(sums)}</ul>'

    return drawn


def _events(half: Half) -> str:
    """Every transition in words, for who wants to know exactly."""
    if not half.events:
        return ""
    items = "".join(
        f"<li><span>{event.at:.2f} s</span><span>{escape(_words(event.type, event.name))} "
        f"{escape(', '.join(f'{key} {value}' for key, value in event.detail.items()))}</span></li>"
        for event in half.events
    )
    title = TITLES.get(half.name, half.name)
    words = f"{len(half.events)} events of {title}"
    return f'<details><summary>{words}</summary><ol class="events">{items}</ol></details>'


def _words(kind: str, name: str) -> str:
    return kind if kind == name else f"{kind} {name}"


def _table(figures: Figures, halves: Sequence[Half]) -> str:
    head = "".join(f"<th>{TITLES.get(half.name, half.name)}</th>" for half in halves)
    rows = "".join(
        f"<tr><td>{escape(row.label)}</td>"
        + "".join(f"<td>{shown(row, figures, half.name)}</td>" for half in halves)
        + "</tr>"
        for row in ROWS
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"

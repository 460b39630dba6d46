"""The words of the report: what was compared, what came of it, how to do it again."""

from __future__ import annotations

from html import escape
from typing import Any

from escala.cli.demo.caveats import caveats
from escala.cli.demo.prices import HEARD
from escala.cli.demo.rows import count, milliseconds, percent
from escala.cli.demo.traffic import Traffic

Figures = dict[str, Any]

_TILES = (
    ("success of admitted requests", "success", percent),
    ("failed GETs", "failed_get", count),
    ("p99 in the surge", "p99_surge_ms", milliseconds),
    ("requests that reached the shop", "reached_shop", count),
)
_SHARES = (
    ("accepted orders found afterwards", "orders_found", "orders_accepted"),
    ("pages with an old price", "stale_pages", "pages_seen"),
)


def lead(traffic: Traffic, figures: Figures) -> str:
    """A title that says what came out, and a sentence on what was compared."""
    failed = figures["stack.failed"]
    saved = f"{count(failed)} of {count(figures['stack.requests'])} requests failed"
    title = f"With the stack, {saved}"
    if "baseline.failed" in figures:
        title = f"Without: {count(figures['baseline.failed'])} failed requests. "
        title += f"With the stack: {count(failed)}."
        what = (
            "were sent twice to a shop of three processes, at the same moments and with the same "
            "faults: first behind plain round robin, then behind a stack of policies, and with "
            "the shop's own cache and write-behind."
        )
    else:
        what = "were sent to a shop of three processes behind a stack of policies."
    return (
        f"<h1>{title}</h1>"
        f'<p class="lead">{count(figures["requests"])} requests from '
        f"{escape(traffic.log.name)} {what} One instance was killed and came back, one turned "
        f"slow, one answered errors, and then five times the traffic arrived.</p>"
    )


def tiles(figures: Figures) -> str:
    """The few figures that matter most, the baseline's below each."""
    made = [
        _tile(
            label,
            write(figures[f"stack.{key}"]),
            write(figures[f"baseline.{key}"]) if f"baseline.{key}" in figures else "",
        )
        for label, key, write in _TILES
    ]
    made += [
        _tile(label, _of("stack", part, whole, figures), _of("baseline", part, whole, figures))
        for label, part, whole in _SHARES
    ]
    return f'<div class="tiles">{"".join(made)}</div>'


def how(traffic: Traffic, figures: Figures) -> str:
    """What someone needs to know to believe it, and to do it again."""
    traffic_from = (
        f"Traffic: <code>{escape(traffic.log.name)}</code>, {count(traffic.log.lines)} lines, "
        f"{count(traffic.log.broken)} of them broken and skipped. Its URLs stand for pages of the "
        "shop by popularity; arrivals are an open-loop Poisson process."
    )
    rates = (
        f"{traffic.rate:g} requests a second while calm, five times as many in the surge, from "
        f"{figures['clients']} client addresses, for {figures['seconds_per_half']:g} s a half."
    )
    machine = (
        f"The machine: {figures['machine.cores']} cores, Python {figures['machine.python']}. Shop, "
        "gateway and load generator share it; the shop yields to the other two."
    )
    generator = (
        "The generator sent 99 % of its requests at most "
        f"{milliseconds(figures['stack.generator_late_p99_ms'])} after they were due; latency "
        "counts from when they were due."
    )
    counting = (
        "A client gives up after 4 s. A refusal is an answer 429 or 503 that a policy gave "
        "before the shop was asked; it is not counted as admitted."
    )
    prices = (
        "Every half second the price of a popular product rose by a cent, through the gateway. "
        "All pages of these products that clients asked for afterwards were compared with it, "
        "and the page of the product's category, asked of the shop itself. Within "
        f"{milliseconds(HEARD * 1000)} of a change an old price is counted apart: a process of the "
        "shop may then not have heard of it."
    )
    views = (
        "A view is an answer to how many of a product are left, which its page asks for whenever "
        "it is shown. "
        f"{count(figures['stack.views_found'])} of {count(figures['stack.views_served'])} were in "
        "the database afterwards; an instance was killed and counted on from its journal."
    )
    again = f"Again: <code>{escape(traffic.again)}</code>"
    lines = (
        traffic_from,
        rates,
        machine,
        generator,
        counting,
        prices,
        views,
        *map(escape, caveats(figures)),
        again,
    )
    return (
        '<ul class="plain">' + "".join(f'<li class="note">{line}</li>' for line in lines) + "</ul>"
    )


def _of(half: str, part: str, whole: str, figures: Figures) -> str:
    """A count and what it is out of; nothing for a half that was not run."""
    if f"{half}.{part}" not in figures:
        return ""
    return f"{count(figures[f'{half}.{part}'])} of {count(figures[f'{half}.{whole}'])}"


def _tile(label: str, value: str, before: str) -> str:
    below = f"<span>without: {escape(before)}</span>" if before else ""
    return (
        f'<div class="tile"><span>{escape(label)}</span><strong>{escape(value)}</strong>'
        f"{below}</div>"
    )

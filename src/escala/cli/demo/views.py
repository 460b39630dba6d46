"""Compare the views that clients had with those that the shop's database counts."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from escala.cli.demo.outcome import FROM_CACHE, Outcome

_OK = 200


class Views(msgspec.Struct, frozen=True, kw_only=True):
    """`served` were answered by the shop; of these, `found` are counted in the database."""

    served: int = 0
    found: int = 0
    unconfirmed: int = 0  # counted although the client got no answer, such as those tried again
    saves: int = 0  # transactions by which they were counted


def compare(database: Path, outcomes: Iterable[Outcome]) -> Views:
    """Compare product by product: a page asks for the stock whenever it is shown."""
    served = Counter(
        outcome.path
        for outcome in outcomes
        if (outcome.kind, outcome.method, outcome.status) == ("stock", "GET", _OK)
        and outcome.cache not in FROM_CACHE
    )
    uri = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        rows = db.execute("SELECT product, sum(times) FROM view GROUP BY product")
        counted = Counter({f"/api/stock/{number}": times for number, times in rows})
        (saves,) = db.execute("SELECT coalesce(sum(saves), 0) FROM view_saves").fetchone()
    return Views(
        served=served.total(),
        found=(served & counted).total(),
        unconfirmed=(counted - served).total(),
        saves=saves,
    )

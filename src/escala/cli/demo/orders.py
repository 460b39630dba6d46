"""Compare the orders that clients were promised with those in the shop's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from escala.cli.demo.outcome import Outcome

_ACCEPTED = (200, 201)


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted` were confirmed to their client; of these, `found` are in the database."""

    sent: int = 0
    accepted: int = 0
    found: int = 0
    unconfirmed: int = 0  # in the database although the client heard no yes
    stock_agrees: bool = True  # what left the stock is what was ordered


def compare(database: Path, outcomes: Iterable[Outcome]) -> Orders:
    """Look every accepted key up, and count the stock."""
    sent = [outcome for outcome in outcomes if outcome.key]
    accepted = {outcome.key for outcome in sent if outcome.status in _ACCEPTED}
    uri = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        keys = {key for (key,) in db.execute("SELECT key FROM orders")}
        (ordered,) = db.execute("SELECT coalesce(sum(quantity), 0) FROM orders").fetchone()
        (gone,) = db.execute("SELECT sum(first_stock - stock) FROM product").fetchone()
    return Orders(
        sent=len(sent),
        accepted=len(accepted),
        found=len(accepted & keys),
        unconfirmed=len(keys - accepted),
        stock_agrees=ordered == gone,
    )

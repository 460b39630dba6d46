"""Prices change while the shop is open."""

from __future__ import annotations

import sqlite3

import msgspec

from shop.answer import Answer, json_answer, problem
from shop.database import Database


class Price(msgspec.Struct, forbid_unknown_fields=True):
    """The body of PUT /api/product/{n}."""

    cents: int
    version: int


def change(database: Database, number: int, body: bytes) -> Answer:
    """200 when this version is in force, also when it was before; 409 when a newer one is."""
    try:
        price = msgspec.json.decode(body, type=Price)
    except msgspec.DecodeError as error:
        return problem(400, f'the body must look like {{"cents": 990, "version": 2}}: {error}')
    if price.cents <= 0:
        return problem(400, "a price is above zero")

    def work(db: sqlite3.Connection) -> Answer:
        # An older change that arrives late, or twice, must not undo a newer one.
        db.execute(
            "UPDATE product SET cents = ?, version = ? WHERE id = ? AND version < ?",
            (price.cents, price.version, number, price.version),
        )
        row = db.execute("SELECT cents, version FROM product WHERE id = ?", (number,)).fetchone()
        if row is None:
            return problem(404, f"there is no product {number}")
        if tuple(row) != (price.cents, price.version):
            return problem(409, f"product {number} has version {row['version']} already")
        return json_answer({"id": number, "cents": price.cents, "version": price.version})

    return database.write(work)

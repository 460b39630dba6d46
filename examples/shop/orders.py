"""Orders: stock and order change together, and the same key never orders twice."""

from __future__ import annotations

import sqlite3

import msgspec

from shop.answer import Answer, json_answer, problem
from shop.database import Database


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /api/orders."""

    product: int
    quantity: int = 1


def place(database: Database, key: str | None, body: bytes) -> Answer:
    """201 for a new order, 200 for one this key has placed before, 409 when sold out."""
    if not key or len(key) > 80:  # noqa: PLR2004  long enough for any UUID with a prefix
        return problem(400, "send an Idempotency-Key of 1 to 80 characters: a retry is then safe")
    try:
        order = msgspec.json.decode(body, type=Order)
    except msgspec.DecodeError as error:
        return problem(400, f'the body must look like {{"product": 7, "quantity": 1}}: {error}')
    if not 1 <= order.quantity <= 100:  # noqa: PLR2004
        return problem(400, "a quantity is between 1 and 100")

    def work(db: sqlite3.Connection) -> Answer:
        known = db.execute("SELECT * FROM orders WHERE key = ?", (key,)).fetchone()
        if known is not None:
            if (known["product"], known["quantity"]) != (order.product, order.quantity):
                return problem(422, "this Idempotency-Key belongs to another order")
            return json_answer({"key": key, "cents": known["cents"], "again": True})
        row = db.execute("SELECT cents FROM product WHERE id = ?", (order.product,)).fetchone()
        if row is None:
            return problem(404, f"there is no product {order.product}")
        taken = db.execute(
            "UPDATE product SET stock = stock - ? WHERE id = ? AND stock >= ?",
            (order.quantity, order.product, order.quantity),
        )
        if not taken.rowcount:
            return problem(409, f"product {order.product} is sold out")
        cents = row["cents"] * order.quantity
        db.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?)", (key, order.product, order.quantity, cents)
        )
        return json_answer({"key": key, "cents": cents}, status=201)

    return database.write(work)

"""The tables that are asked in tests of scatter: orders and their items by tenant, countries."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship, remote

TABLES = {"orders": "tenant", "items": "tenant"}
REFERENCE = ["countries"]
TENANTS = [f"t{number}" for number in range(9)]


class Base(DeclarativeBase):
    pass


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(primary_key=True)
    zone: Mapped[str]


class Order(Base):
    __tablename__ = "orders"
    __table_args__ = (UniqueConstraint("tenant", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    country: Mapped[str | None]
    city: Mapped[str | None]
    qty: Mapped[int | None]
    price: Mapped[float | None]
    at: Mapped[datetime | None]
    day: Mapped[date | None]
    paid: Mapped[bool | None]
    items: Mapped[list[Item]] = relationship(back_populates="order", order_by="Item.n")
    place: Mapped[Country | None] = relationship(
        primaryjoin=lambda: foreign(Order.country) == remote(Country.code), viewonly=True
    )


class Item(Base):
    __tablename__ = "items"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str | None]
    cost: Mapped[float | None]
    order: Mapped[Order] = relationship(back_populates="items")
    __table_args__ = (ForeignKeyConstraint([tenant, order_id], [Order.tenant, Order.id]),)


def rows(seed: int, orders: int = 60) -> dict[type[Base], list[dict[str, Any]]]:
    """Make rows with many equal values and NULLs; quarters, so that sums of floats are exact."""
    draw = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if draw.random() < 0.15 else value

    made: dict[type[Base], list[dict[str, Any]]] = {Country: [], Order: [], Item: []}
    for code, zone in (("de", "eu"), ("fr", "eu"), ("jp", "asia"), ("pe", "south")):
        made[Country].append({"code": code, "zone": zone})
    start = datetime(2026, 3, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    for number in range(orders):
        tenant = draw.choice(TENANTS)
        made[Order].append(
            {
                "id": number,
                "tenant": tenant,
                "country": maybe(draw.choice(["de", "fr", "jp", "xx"])),
                "city": maybe(draw.choice(["Ulm", "ulm", "Zug", "Åre", "aix", ""])),
                "qty": maybe(draw.randint(-3, 6)),
                "price": maybe(draw.randint(-8, 20) / 4),
                "at": maybe(start + timedelta(hours=draw.randint(0, 8))),
                "day": maybe((start + timedelta(days=draw.randint(0, 4))).date()),
                "paid": maybe(draw.random() < 0.5),
            }
        )
        made[Item] += [
            {
                "tenant": tenant,
                "order_id": number,
                "n": n,
                "sku": maybe(draw.choice(["a", "b", "c"])),
                "cost": maybe(draw.randint(0, 12) / 4),
            }
            for n in range(draw.choice([0, 0, 1, 2, 3]))
        ]
    return made

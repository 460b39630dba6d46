"""What a type checker sees of a scatter: what the statement was; checked by `mypy`, never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from sqlalchemy import ScalarResult, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.sql.dml import Update

from escala import scatter


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


def asked(session: Session) -> None:
    newest = scatter(select(Order).order_by(Order.id.desc()), max_shards=8)
    assert_type(session.scalars(newest), ScalarResult[Order])
    assert_type(scatter(update(Order), max_shards=8), Update)


async def aasked(session: AsyncSession) -> None:
    statement = scatter(select(Order.id), max_shards=8)
    assert_type((await session.scalars(statement)).all(), Sequence[int])


scatter(select(Order))  # type: ignore[call-arg]
scatter("SELECT 1", max_shards=8)  # type: ignore[type-var]

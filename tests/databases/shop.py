"""The tables that the tests of shards use: customers with orders and lines, countries on all."""

from __future__ import annotations

from sqlalchemy import ForeignKey, ForeignKeyConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TABLES = {"customers": "name", "orders": "customer", "lines": "customer"}
REFERENCE = ["countries"]


class Base(DeclarativeBase):
    pass


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]


class Customer(Base):
    __tablename__ = "customers"
    name: Mapped[str] = mapped_column(primary_key=True)
    country_code: Mapped[str | None] = mapped_column(ForeignKey("countries.code"))
    country: Mapped[Country | None] = relationship()
    orders: Mapped[list[Order]] = relationship(back_populates="owner", cascade="all, delete-orphan")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(ForeignKey("customers.name"))
    total: Mapped[int] = mapped_column(default=0)
    owner: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[Line]] = relationship(order_by="Line.number", cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "lines"
    customer: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column("item")
    __table_args__ = (ForeignKeyConstraint([order_id], ["orders.id"]),)


class Note(Base):
    """A table of no list."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)

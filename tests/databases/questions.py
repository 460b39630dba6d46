"""Makes up queries, as many as wanted: what a session over shards has to answer, or refuse."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy.orm import aliased, joinedload, selectinload
from tests.databases.books import TENANTS, Country, Item, Order


@dataclass
class Question:
    """A statement; `total` says that its order leaves no choice, `keys` how many it sorts by."""

    statement: Any
    everything: Any  # the same without LIMIT and OFFSET
    total: bool
    ordered: bool
    parameters: dict[str, Any]
    unique: bool = False


class Questions:
    """A source of queries; the same seed gives the same ones."""

    def __init__(self, seed: int, *, server: bool = False) -> None:
        self.draw, self.server = random.Random(seed), server

    def next(self) -> Question:
        kind = self.draw.choice(["rows", "rows", "rows", "objects", "groups", "groups", "totals"])
        made: Question = getattr(self, f"_{kind}")()
        return made

    def _chance(self, share: float) -> bool:
        return self.draw.random() < share

    # WHERE

    def _condition(self, items: bool) -> Any:
        draw = self.draw
        other = aliased(Order)
        conditions: list[Any] = [
            Order.qty > draw.randint(-3, 5),
            Order.qty.is_(None),
            Order.city.in_(draw.sample(["Ulm", "ulm", "Zug", "Åre", ""], 2)),
            Order.city.like("%u%"),
            Order.price.between(0, draw.randint(1, 4)),
            Order.paid.is_(True),
            not_(Order.paid),
            func.length(Order.city) > 2,
            Order.tenant == draw.choice(TENANTS),
            Order.tenant.in_(draw.sample(TENANTS, 4)),
            Order.country.in_(select(Country.code).where(Country.zone == "eu")),
            exists().where(Country.code == Order.country, Country.zone != "eu").correlate(Order),
            exists()
            .where(Item.tenant == Order.tenant, Item.order_id == Order.id, Item.cost > 1)
            .correlate(Order),
            ~exists(
                select(Item.n)
                .where(Item.tenant == Order.tenant, Item.order_id == Order.id)
                .correlate(Order)
            ),
            Order.tenant.in_(select(Item.tenant).where(Item.sku == "a")),
            Order.tenant.not_in(select(other.tenant).where(other.qty > 5)),
            Order.qty
            > select(func.avg(other.qty))
            .where(other.tenant == Order.tenant)
            .correlate(Order)
            .scalar_subquery(),
            Order.items.any(Item.sku == "b"),
            case((Order.qty > 2, Order.price), else_=0) > 1,
        ]
        if items:
            conditions += [Item.cost > 1, Item.sku.is_not(None), Item.n < 2]
        # Not to be answered: rows of other shards are looked at.
        if self._chance(0.04):
            return Order.qty > select(func.avg(other.qty)).scalar_subquery()
        if self._chance(0.03):
            return Order.id.in_(select(Item.order_id).where(Item.sku == "a"))
        one, two = draw.choice(conditions), draw.choice(conditions)
        return draw.choice([one, one, and_(one, two), or_(one, two)])

    def _kind(self) -> tuple[str, bool]:
        kinds = ["plain", "plain", "plain", "join", "left", "both", "place", "noplace"]
        kind = self.draw.choice(kinds)
        return kind, kind in {"join", "left", "both"}

    def _from(self, statement: Any, kind: str) -> Any:
        keys = and_(Item.tenant == Order.tenant, Item.order_id == Order.id)
        place = Country.code == Order.country
        if kind == "join" and self._chance(0.15):
            return statement.join(Item, Item.order_id == Order.id)  # not by the key
        joined = {
            "plain": lambda: statement,
            "join": lambda: statement.join(Order.items),
            "left": lambda: statement.outerjoin(Item, keys),
            "both": lambda: statement.join(Item, Item.tenant == Order.tenant).join(Country, place),
            "place": lambda: statement.join(Country, place),
            "noplace": lambda: statement.outerjoin(Country, place),
        }
        return joined[kind]()

    def _narrowed(self, statement: Any, kind: str) -> Any:
        items = kind in {"join", "left", "both"}
        for _ in range(self.draw.choice([0, 1, 1, 2])):
            statement = statement.where(self._condition(items))
        return statement

    # Expressions

    def _value(self, items: bool = False) -> Any:
        values = [
            Order.id,
            Order.tenant,
            Order.city,
            Order.qty,
            Order.price,
            Order.at,
            Order.day,
            Order.paid,
            (Order.qty * 2 + 1).label("more"),
            func.coalesce(Order.qty, 0).label("known"),
            func.abs(Order.qty).label("size"),
            func.lower(Order.city, type_=String).label("low"),
            case((Order.qty > 2, "much"), (Order.qty > 0, "some"), else_="none").label("amount"),
            cast(Order.price, Integer).label("whole"),
            func.length(Order.city).label("letters"),
        ]
        if items:
            values += [Item.n, Item.sku, Item.cost]
        return self.draw.choice(values)

    def _directed(self, term: Any) -> Any:
        draw = self.draw
        term = draw.choice([term, term.asc(), term.desc()])
        kind = draw.choice(["", "", "first", "last"])
        if kind:
            term = term.nulls_first() if kind == "first" else term.nulls_last()
        return term

    def _sort(self, items: bool, columns: list[Any]) -> Any:
        term = self.draw.choice([*columns, self._value(items), self._value(items)])
        name = getattr(term, "name", None)
        if name and any(each is term for each in columns) and self._chance(0.2):
            return name if self._chance(0.5) else func.coalesce(term, term).desc()
        return self._directed(term)

    def _window(self, statement: Any) -> tuple[Any, dict[str, Any]]:
        draw, parameters = self.draw, {}
        if self._chance(0.55):
            limit = draw.choice([0, 1, 3, 5, 10, 100])
            if self._chance(0.2):
                statement, parameters["most"] = (
                    statement.limit(bindparam("most", type_=Integer)),
                    limit,
                )
            else:
                statement = statement.limit(limit)
            if self._chance(0.5):
                statement = statement.offset(draw.choice([0, 1, 4, 30, 1000]))
        return statement, parameters

    # Kinds

    def _rows(self) -> Question:
        draw, (kind, items) = self.draw, self._kind()
        columns = [self._value(items) for _ in range(draw.randint(1, 4))]
        distinct = self._chance(0.25)
        statement = self._from(select(*columns).select_from(Order), kind)
        statement = self._narrowed(statement, kind)
        if distinct:
            statement = statement.distinct()
        ordered = self._chance(0.7)
        total = False
        if ordered:
            sorts = [
                self._directed(draw.choice(columns))
                if distinct and draw.random() < 0.95
                else self._sort(items, columns)
                for _ in range(draw.randint(1, 3))
            ]
            if not distinct and self._chance(0.7):
                sorts += [Order.id, Item.tenant, Item.order_id, Item.n] if items else [Order.id]
                total = True
            statement = statement.order_by(*sorts)
        return self._question(statement, total=total, ordered=ordered)

    def _objects(self) -> Question:
        kind, items = self._kind()
        statement = self._from(select(Order), kind)
        if self._chance(0.3):
            statement = statement.add_columns(self._value(items).label("beside"))
        if kind == "join" and self._chance(0.5):
            statement = statement.add_columns(Item)
        if kind == "place" and self._chance(0.5):
            statement = statement.add_columns(Country)
        statement = self._narrowed(statement, kind)
        many = [selectinload(Order.items), selectinload(Order.place), joinedload(Order.place)]
        if not items:
            many.append(joinedload(Order.items))
        eager = self.draw.choice(many)
        statement = statement.options(eager)
        ordered = self._chance(0.8)
        total = ordered and self._chance(0.8)
        if ordered:
            statement = statement.order_by(*[self._sort(items, [Order.qty]) for _ in range(2)])
        if total:
            statement = statement.order_by(
                *([Order.id, Item.tenant, Item.order_id, Item.n] if items else [Order.id])
            )
        return self._question(
            statement, total=total, ordered=ordered, unique=eager is many[-1] and not items
        )

    def _aggregate(self, items: bool) -> Any:
        draw = self.draw
        number = draw.choice([Order.qty, Order.price, *([Item.cost] if items else [])])
        value = draw.choice([number, Order.at, Order.day, Order.city, Order.id])
        paid: Any = Order.paid
        simple: list[Any] = [
            func.count(),
            func.count(value),
            func.sum(number),
            func.avg(number),
            func.min(value),
            func.max(value),
            func.sum(case((paid, 1), else_=0)),
            func.count(value).filter(Order.qty > 1),
            func.avg(number).filter(paid),
        ]
        one, two = draw.choice(simple[:4]), draw.choice(simple[:4])
        composed = [
            one + two,
            one * 2 - two,
            func.coalesce(one, 0) + literal(5),
            case((one > two, one), else_=two),
            func.sum(number) / func.nullif(func.count(number), 0),
            -one,
            one > 3,
            one / 4,
        ]
        refused = [
            func.count(Order.city.distinct()),
            func.round(func.avg(number)),
            func.max(number, 1) if not self.server else func.bool_and(Order.paid),
            func.sum(func.sum(number)).over(),
            cast(one, Float),
        ]
        if self._chance(0.05):
            return draw.choice(refused)
        return draw.choice([*simple, *simple, *composed])

    def _groups(self) -> Question:
        draw, (kind, items) = self.draw, self._kind()
        keys: list[Any] = []
        for _ in range(draw.choice([1, 1, 2])):
            key = self._value(items)
            if not any(key is each or str(key) == str(each) for each in keys):
                keys.append(key)
        if kind == "place":
            keys.append(Country.zone)
        aggregates = [
            self._aggregate(items).label(f"a{number}") for number in range(draw.randint(1, 3))
        ]
        shown = keys if self._chance(0.7) else keys[1:]
        statement = self._from(select(*shown, *aggregates).select_from(Order), kind)
        statement = self._narrowed(statement, kind).group_by(*[_bare(key) for key in keys])
        if self._chance(0.4):
            draw_one = self._aggregate(items)
            statement = statement.having(
                draw.choice([func.count() > 2, draw_one.is_not(None), func.sum(Order.qty) > 1])
            )
        if self._chance(0.15):
            statement = statement.distinct()
            ordered = False
        else:
            ordered = self._chance(0.7)
        if ordered:
            sorts = [self._directed(draw.choice([*aggregates, *keys])) for _ in range(2)]
            statement = statement.order_by(*sorts, *[_bare(key) for key in keys])
        return self._question(statement, total=ordered, ordered=ordered)

    def _totals(self) -> Question:
        kind, items = self._kind()
        columns = [
            self._aggregate(items).label(f"a{number}") for number in range(self.draw.randint(1, 3))
        ]
        statement = self._from(select(*columns).select_from(Order), kind)
        statement = self._narrowed(statement, kind)
        if self._chance(0.2):
            statement = statement.having(func.count() > self.draw.choice([0, 10, 100]))
        return self._question(statement, total=True, ordered=True)

    def _question(
        self, statement: Any, *, total: bool, ordered: bool, unique: bool = False
    ) -> Question:
        limited, parameters = self._window(statement)
        return Question(limited, statement, total, ordered, parameters, unique)


def _bare(key: Any) -> Any:
    return key.element if hasattr(key, "element") and hasattr(key, "name") else key

"""What is refused, and why, before anything is asked; and what is asked of a shard."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.orm import aliased, column_property, registry, with_loader_criteria
from tests.databases.books import REFERENCE, Country, Item, Order

from escala.databases.pure.merge import SortKey
from escala.databases.scattering.scatter_plan import ScatterPlan, check_change, plan
from escala.databases.scattering.scatter_request import budget, scatter, within_budget
from escala.databases.scattering.scatter_tables import Tables
from escala.databases.scattering.scatter_values import Dialect
from escala.errors import CannotMerge, ConfigError, NoShardKey


class Doubled(TypeDecorator[int]):
    impl = Integer
    cache_ok = True


ODD = Table(
    "odd",
    MetaData(),
    Column("region", String),
    Column("tenant", Integer),
    Column("kind", Enum("a", "b")),
    Column("more", JSON),
    Column("span", Interval),
    Column("name", String(collation="NOCASE")),
    Column("data", LargeBinary),
    Column("twice", Doubled),
)
TABLES = Tables(
    {"orders": ("tenant",), "items": ("tenant",), "odd": ("region", "tenant")}, REFERENCE
)
SAME = (Item.tenant == Order.tenant) & (Item.order_id == Order.id)


def planned(statement: Any, name: str = "postgresql", **parameters: Any) -> ScatterPlan:
    return plan(statement, TABLES, Dialect(name, lambda: True), parameters)


def sql(statement: Any, **parameters: Any) -> str:
    made = planned(statement, **parameters).statement
    return " ".join(str(made.compile(compile_kwargs={"literal_binds": True})).split())


ALL_ITEMS = select(func.max(Item.order_id)).scalar_subquery()
OWN_ITEMS = (
    select(func.count()).where(Item.tenant == Order.tenant).correlate(Order).scalar_subquery()
)


class Counted:
    pass


class CountedOwn:
    pass


for made, counts in ((Counted, ALL_ITEMS), (CountedOwn, OWN_ITEMS)):
    registry().map_imperatively(
        made, Order.__table__, properties={"count": column_property(counts)}
    )
other = aliased(Order)
REFUSED: dict[str, tuple[Any, str]] = {
    "union": (union_all(select(Order.id), select(Order.id)), "parts of a union"),
    "text": (text("SELECT 1"), "read text by naming its shard"),
    "insert": (insert(Order), "takes select"),
    "for update": (select(Order.id).with_for_update(), "FOR UPDATE"),
    "fetch": (select(Order.id).fetch(3), "FETCH"),
    "prefix": (select(Order.id).prefix_with("ALL"), "prefixes"),
    "with": (select(Order.id).add_cte(select(Order.id).cte("c")), "WITH"),
    "window": (select(func.row_number().over(order_by=Order.id)), "window"),
    "window by name": (select(Order.id).order_by(func.sum(Order.qty).over()), "window"),
    "unknown function": (select(func.median(Order.qty)), "may be an aggregate"),
    "distinct aggregate": (select(func.count(Order.city.distinct())), "DISTINCT"),
    "two arguments": (select(func.max(Order.qty, 1)), "several arguments"),
    "text in where": (select(Order.id).where(text("qty > 1")), "cannot be read"),
    "text in order": (select(Order.id).order_by(text("qty")), "cannot be read"),
    "literal column": (select(literal_column("sum(qty)")).select_from(Order), "cannot be read"),
    "number beyond": (select(Order.id).order_by(literal_column("2")), "cannot be read"),
    "limit of an expression": (select(Order.id).limit(func.abs(3)), "LIMIT"),
    "limit below zero": (select(Order.id).limit(-1), "below 0"),
    "unjoined": (select(Order.id, Item.n), "not joined on the shard key"),
    "joined otherwise": (
        select(Order.id).join(Item, Item.order_id == Order.id),
        "items.tenant and orders.tenant",
    ),
    "joined in an OR": (
        select(Order.id).join(Item, (Item.tenant == Order.tenant) | (Item.n == 1)),
        "not joined",
    ),
    "self join": (select(Order.id).join(other, other.qty == Order.qty), "not joined"),
    "outer joined, linked beyond": (
        select(Order.id).outerjoin(Item, Item.n == 1).outerjoin(other, other.tenant == Item.tenant),
        "not joined",
    ),
    "outer join does not link its left": (
        select(Order.id)
        .join(other, other.qty == Order.qty)
        .outerjoin(Item, (Item.tenant == Order.tenant) & (Item.tenant == other.tenant)),
        "not joined",
    ),
    "reference outer joined": (
        select(Country.code).outerjoin(Order, Order.country == Country.code),
        "left of an outer join",
    ),
    "full join with a reference": (
        select(Order.id).join(Country, Order.country == Country.code, full=True),
        "full outer join",
    ),
    "half of a key": (
        select(ODD.c.tenant).join(other_odd := ODD.alias(), ODD.c.tenant == other_odd.c.tenant),
        "not joined",
    ),
    "subquery over all": (
        select(Order.id).where(Order.qty > select(func.avg(other.qty)).scalar_subquery()),
        "the query around it",
    ),
    "limit in an IN": (
        select(Order.id).where(Order.tenant.in_(select(Item.tenant).limit(3))),
        "the query around it",
    ),
    "reference looks at sharded": (
        select(Country.code).where(exists().where(Order.country == Country.code)),
        "over reference tables",
    ),
    "subquery in FROM": (select(select(Order.id).subquery()), "each shard would see its own"),
    "union in a subquery": (
        select(Order.id).where(Order.id.in_(union_all(select(Item.n), select(Item.n)))),
        "each shard would see its own",
    ),
    "function in FROM": (
        select(func.generate_series(1, 3).table_valued("n")),
        "function in FROM",
    ),
    "unknown table": (select(Table("logs", MetaData(), Column("id", Integer))), "neither sharded"),
    "sorted by JSON": (select(ODD.c.tenant).order_by(ODD.c.more), "JSON"),
    "sorted by an interval": (select(ODD.c.tenant).order_by(ODD.c.span), "Interval"),
    "sorted by an enum": (select(ODD.c.tenant).order_by(ODD.c.kind), "ORDER BY"),
    "sorted by other text": (select(ODD.c.tenant).order_by(ODD.c.name), "collation"),
    "groups of JSON": (select(func.count()).select_from(ODD).group_by(ODD.c.more), "JSON"),
    "groups of other text": (
        select(func.count()).select_from(ODD).group_by(ODD.c.name),
        "equal without",
    ),
    "groups of what is made of other text": (
        select(func.count()).select_from(ODD).group_by(func.lower(ODD.c.name)),
        "equal without",
    ),
    "sum of a Python type": (select(func.sum(ODD.c.twice)), "type_coerce"),
    "not of the group": (select(Order.city, func.count()).group_by(Order.qty), "group by it too"),
    "not of the total": (select(Order.city, func.count()), "group by it too"),
    "sorted by what is not of the group": (
        select(func.count(Order.id)).group_by(Order.qty).order_by(Order.city),
        "group by it too",
    ),
    "having what is not of the group": (
        select(func.count(Order.id)).group_by(Order.qty).having(Order.city == "Ulm"),
        "group by it too",
    ),
    "cast of an aggregate": (select(func.round(func.avg(Order.qty))), "cannot be computed"),
    "distinct sorted by another": (
        select(Order.qty).distinct().order_by(Order.city),
        "has to be selected",
    ),
    "a function of another schema": (select(func.app.count(Order.id)), "app.count"),
    "sets of groups": (
        select(func.count()).select_from(Order).group_by(func.rollup(Order.city)),
        "rollup",
    ),
    "groups of an aggregate": (select(Order.city).group_by(func.count(Order.id)), "a value of a"),
    "an entity with a count of others": (select(Counted), "query around it"),
    "criteria that look at all": (
        select(Order).options(with_loader_criteria(Order, Order.id == ALL_ITEMS)),
        "query around it",
    ),
    "whole table among classes": (select(Order, Item.__table__).where(SAME), "name the columns"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_merged_is_refused_with_the_reason(name: str) -> None:
    statement, reason = REFUSED[name]
    with pytest.raises(CannotMerge, match=reason):
        planned(statement)


ANSWERED: dict[str, Any] = {
    "an entity with a count of its own": select(CountedOwn),
    "the same by another name": select(aliased(CountedOwn)),
    "criteria": select(Order).options(with_loader_criteria(Order, Order.id > 3)),
    "the same function": select(func.pg_catalog.count(Order.id)),
    "joined by the key": select(Order.id).join(Item, SAME),
    "joined in WHERE": select(Order.id, Item.n).where(SAME),
    "a chain": select(Order.id).join(Item, SAME).join(other, other.tenant == Item.tenant),
    "both keys": select(ODD.c.tenant).join(
        other_odd,
        (ODD.c.tenant == other_odd.c.tenant) & (other_odd.c.region == ODD.c.region),
    ),
    "full join by the key": select(Order.id).join(Item, SAME, full=True),
    "outer join made inner": select(Order.id)
    .outerjoin(Item, Item.n == 1)
    .where(Item.tenant == Order.tenant),
    "exists": select(Order.id).where(exists().where(SAME).correlate(Order)),
    "the same table within": select(Order.id)
    .outerjoin(Item, SAME)
    .where(Order.tenant.in_(select(Item.tenant).where(Item.sku == "a"))),
    "reference within": select(Order.id).where(Order.country.in_(select(Country.code))),
    "reference union within": select(Order.id).where(
        Order.country.in_(union_all(select(Country.code), select(Country.zone)))
    ),
    "a group of the key": select(Order.tenant, func.median(Order.qty)).group_by(Order.tenant),
    "text by its bytes": select(ODD.c.name).order_by(ODD.c.name.collate("C")),
    "bytes": select(ODD.c.data).order_by(ODD.c.data),
    "extremes with a filter": select(func.max(Order.qty).filter(Order.qty < 5)),
    "a Python type": select(ODD.c.twice).distinct().order_by(ODD.c.twice),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_what_lies_on_one_shard_each_is_answered(name: str) -> None:
    assert not planned(ANSWERED[name]).one_shard


def test_only_reference_tables_are_asked_of_one_shard() -> None:
    assert planned(select(Country.code)).one_shard


def test_a_shard_gives_no_more_rows_than_the_answer_may_need() -> None:
    made = planned(select(Order.id).order_by(Order.qty.desc()).limit(5).offset(20))
    assert (made.merge.limit, made.merge.offset, made.width) == (5, 20, 1)
    assert made.merge.order == (SortKey(1, descending=True, nulls_first=True),)
    assert sql(select(Order.id).order_by(Order.qty.desc()).limit(5).offset(20)) == (
        "SELECT orders.id, orders.qty AS escala_0 FROM orders ORDER BY orders.qty DESC LIMIT 25"
    )


def test_groups_are_sent_without_limit_order_and_having() -> None:
    statement = (
        select(Order.city, func.avg(Order.qty).label("a"))
        .group_by(Order.city)
        .having(func.count() > 2)
        .order_by("a")
        .limit(3)
    )
    assert sql(statement) == (
        "SELECT orders.city, avg(orders.qty) AS a, sum(orders.qty) AS escala_0, "
        "count(orders.qty) AS escala_1, count(*) AS escala_2 FROM orders GROUP BY orders.city"
    )


def test_a_key_with_a_parameter_is_grouped_by_name() -> None:
    statement = select(func.count(Order.id)).group_by(Order.qty + 1)
    assert sql(statement).endswith("GROUP BY escala_0")


def test_null_goes_where_the_database_puts_it() -> None:
    statement = select(Order.qty).order_by(Order.qty, Order.id.desc())
    high = planned(statement).merge.order
    low = planned(statement, "sqlite").merge.order
    assert [key.nulls_first for key in high] == [False, True]
    assert [key.nulls_first for key in low] == [True, False]


def test_another_database_is_refused() -> None:
    with pytest.raises(CannotMerge, match="mysql"):
        planned(select(Order.id), "mysql")


def test_the_limit_may_be_a_parameter() -> None:
    from sqlalchemy import bindparam

    statement = select(Order.id).limit(bindparam("n", type_=Integer))
    assert planned(statement, n=7).merge.limit == 7
    with pytest.raises(CannotMerge, match="LIMIT"):
        planned(statement)


CHANGES: dict[str, tuple[Any, str]] = {
    "reference": (update(Country).values(zone="eu"), "reference table"),
    "the key": (update(Order).values(tenant="t1"), "shard key"),
    "returning": (delete(Order).returning(Order.id), "RETURNING"),
    "another table": (delete(Order).where(Order.id == Item.order_id), "other tables"),
    "a subquery over all": (
        delete(Order).where(Order.id.in_(select(Item.order_id))),
        "the query around it",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_no_shard_can_make_alone_is_refused(name: str) -> None:
    statement, reason = CHANGES[name]
    with pytest.raises(CannotMerge, match=reason):
        check_change(statement, TABLES)


def test_a_change_of_each_shards_own_rows_is_let_through() -> None:
    within = exists().where(Item.tenant == Order.tenant, Item.cost > 2)
    check_change(delete(Order).where(within.correlate(Order)), TABLES)
    check_change(update(Order).values(qty=case((Order.qty > 2, 0), else_=Order.qty)), TABLES)


def test_the_budget_is_part_of_the_statement() -> None:
    statement = scatter(select(Order), max_shards=3)
    assert budget(statement.get_execution_options()) == 3
    assert budget(select(Order).get_execution_options()) is None
    within_budget(3, 3)
    with pytest.raises(NoShardKey, match="may ask 3 shards"):
        within_budget(3, 4)


@pytest.mark.parametrize("most", [0, -1, True, 2.5, "3"], ids=str)
def test_a_budget_is_a_number_of_shards(most: Any) -> None:
    with pytest.raises(ConfigError, match="max_shards"):
        scatter(select(Order), max_shards=most)

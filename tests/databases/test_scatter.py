"""Scatter through a session over three SQLite shards: objects, results, changes, deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Integer,
    Numeric,
    case,
    cast,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session, joinedload, selectinload
from tests.databases.books import REFERENCE, TABLES, TENANTS, Base, Country, Item, Order

from escala.databases.scattering.in_parallel import on_each
from escala.databases.scattering.scatter_request import scatter
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.sharded_database import ShardedDatabase
from escala.databases.sharding.sharded_session import ShardedSession
from escala.errors import CannotMerge, ConfigError, DeadlineExceeded, NoShardKey
from escala.kernel.context import restore, shorten
from escala.kernel.runtime import colours

MAP = ShardMap.directory(
    {tenant: f"s{number % 3}" for number, tenant in enumerate(TENANTS)}, key="tenant"
)


@contextmanager
def shorten_to_nothing() -> Iterator[None]:
    before = shorten(colours.thread.now())
    try:
        yield
    finally:
        restore(before)


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[ShardedDatabase]:
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in MAP.shards}
    with ShardedDatabase(MAP, urls, tables=TABLES, reference=REFERENCE) as made:
        made.install()
        for name in made.names:
            Base.metadata.create_all(made.engine(name))
            number = int(name[1])
            with made.engine(name).begin() as connection:
                connection.execute(insert(Country), [{"code": "de", "zone": "eu"}])
                orders = [
                    {"id": n, "tenant": TENANTS[number], "country": "de", "qty": n % 4}
                    for n in range(number, 12, 3)
                ]
                connection.execute(insert(Order), orders)
                items = [
                    {"tenant": TENANTS[number], "order_id": order["id"], "n": n, "sku": "a"}
                    for order in orders
                    for n in (1, 2)
                ]
                connection.execute(insert(Item), items)
        yield made


@pytest.fixture
def session(shards: ShardedDatabase) -> Iterator[ShardedSession]:
    with shards.session() as made:
        yield made


def test_objects_come_merged_and_know_their_shard(session: ShardedSession) -> None:
    found = session.scalars(scatter(select(Order).order_by(Order.id.desc()), max_shards=3)).all()
    assert [order.id for order in found] == list(range(11, -1, -1))
    assert {inspect(order).identity_token for order in found} == {"s0", "s1", "s2"}
    assert len(found[0].items) == 2  # loaded later, from the shard of its order
    assert found[0].place is not None


@pytest.mark.parametrize(
    "eager", [joinedload(Order.items), selectinload(Order.items)], ids=["joined", "selectin"]
)
def test_what_belongs_to_an_object_is_loaded_with_it(session: ShardedSession, eager: Any) -> None:
    statement = select(Order).options(eager).order_by(Order.id).limit(5).offset(1)
    found = session.scalars(scatter(statement, max_shards=3)).unique().all()
    assert [order.id for order in found] == [1, 2, 3, 4, 5]
    assert all("items" in order.__dict__ and len(order.items) == 2 for order in found)


def test_a_limit_over_a_join_and_a_joined_collection_is_refused(session: ShardedSession) -> None:
    statement = select(Order).join(Order.items).options(joinedload(Order.items))
    found = session.scalars(scatter(statement, max_shards=3)).unique().all()
    assert len(found) == 12
    with pytest.raises(CannotMerge, match="selectinload"):
        session.scalars(scatter(statement.limit(3), max_shards=3))


def test_an_object_in_the_session_stays_what_it_is(session: ShardedSession) -> None:
    statement = scatter(select(Order).order_by(Order.id), max_shards=3)
    first = session.scalars(statement).first()
    assert first is not None
    with session.no_autoflush:
        first.qty = 77
        again = session.scalars(statement).first()
    assert again is first
    assert first.qty == 77
    session.rollback()
    fresh = session.scalars(statement.execution_options(populate_existing=True)).first()
    assert fresh is first
    assert first.qty == 0


def test_pending_changes_are_written_first(session: ShardedSession) -> None:
    session.add(Order(id=50, tenant=TENANTS[0], qty=9))
    counted = scatter(select(func.count()).where(Order.qty == 9), max_shards=3)
    assert session.scalar(counted) == 1


def test_rows_have_the_names_of_the_statement(session: ShardedSession) -> None:
    statement = select(Order.id, func.coalesce(Order.qty, 0).label("known")).order_by(
        Order.city, Order.id
    )
    result = session.execute(scatter(statement.limit(2), max_shards=3))
    assert list(result.keys()) == ["id", "known"]
    row = result.first()
    assert row is not None
    assert (row.id, row.known, row._mapping["known"], len(row)) == (0, 0, 0, 2)


def test_groups_have_the_names_of_the_statement(session: ShardedSession) -> None:
    total = func.sum(Order.qty).label("total")
    statement = select(Order.qty, total).group_by(Order.qty).order_by(total.desc())
    rows = session.execute(scatter(statement, max_shards=3)).mappings().all()
    assert dict(rows[0]) == {"qty": 3, "total": 9}
    assert session.scalars(scatter(statement, max_shards=3)).all() == [3, 2, 1, 0]


def test_only_so_many_shards_may_be_asked(session: ShardedSession) -> None:
    with pytest.raises(NoShardKey, match="may ask 2 shards"):
        session.execute(scatter(select(Order), max_shards=2))
    within = select(func.count()).where(Order.tenant.in_(TENANTS[:2]))
    assert session.scalar(scatter(within, max_shards=2)) == 8


def test_a_change_on_several_shards_needs_two_phases(session: ShardedSession) -> None:
    with pytest.raises(ConfigError, match="SQLite cannot commit them together"):
        session.execute(scatter(update(Order).values(qty=1), max_shards=3))


def test_what_cannot_be_merged_is_told_before_a_shard_lets_it_in(session: ShardedSession) -> None:
    for statement in (
        text("SELECT 1"),
        select(Order.id).with_for_update(),
        select(func.random()).select_from(Order),
        delete(Order).returning(Order.id),
    ):
        with pytest.raises(CannotMerge):
            session.execute(scatter(statement, max_shards=3))
    with pytest.raises(CannotMerge, match="one set of parameters"):
        session.execute(scatter(select(Order.id), max_shards=3), [{"a": 1}, {"a": 2}])
    assert not session.on_shards.inside


def test_numbers_have_the_type_of_one_database(session: ShardedSession) -> None:
    price = cast(Order.qty, Numeric(10, 2))
    statement = select(
        func.sum(Order.qty) / func.count(),
        func.sum(price) / 4,
        func.avg(price),
        func.avg(Order.qty),
    )
    found = session.execute(scatter(statement, max_shards=3)).one()
    assert found == (Decimal("1.5"), Decimal("4.5"), 1.5, 1.5)
    assert [type(each) for each in found] == [Decimal, Decimal, float, float]


def test_values_of_several_types_have_no_order(session: ShardedSession) -> None:
    mixed = case((Order.qty == 1, literal("x", Integer)), else_=Order.qty)
    with pytest.raises(CannotMerge):
        session.execute(scatter(select(mixed).order_by(mixed), max_shards=3)).all()


def test_rows_may_be_taken_in_parts(session: ShardedSession) -> None:
    statement = scatter(select(Order).order_by(Order.id), max_shards=3)
    result = session.scalars(statement, execution_options={"yield_per": 5})
    assert [[order.id for order in part] for part in result.partitions(5)][1] == [5, 6, 7, 8, 9]


def test_the_async_session_gives_the_same(tmp_path: Path, shards: ShardedDatabase) -> None:
    statement = scatter(
        select(Order).options(selectinload(Order.items)).order_by(Order.id).limit(4), max_shards=3
    )

    async def main() -> list[tuple[int, int]]:
        async with shards.asession() as session:
            found = (await session.scalars(statement)).all()
            made = [(order.id, len(order.items)) for order in found]
        await shards.aclose()
        return made

    assert asyncio.run(main()) == [(0, 2), (1, 2), (2, 2), (3, 2)]


def test_no_shard_is_asked_after_the_deadline(session: ShardedSession) -> None:
    statement = scatter(select(Order.id), max_shards=3)
    session.execute(statement)
    with shorten_to_nothing(), pytest.raises(DeadlineExceeded):
        session.execute(statement)


def test_one_shard_after_the_other_where_a_database_belongs_to_a_thread() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        found = on_each({"a": connection, "b": connection}, lambda name, each: (name, each))
        assert found == {"a": ("a", connection), "b": ("b", connection)}
    engine.dispose()


def test_a_plain_session_has_no_shards() -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        assert session.scalars(scatter(select(Order), max_shards=1)).all() == []
    engine.dispose()

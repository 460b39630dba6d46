"""Sessions over shards, with SQLite: where each statement goes, and what goes nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    Column,
    Integer,
    Table,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    foreign,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)
from tests.databases.shop import REFERENCE, TABLES, Base, Country, Customer, Line, Note, Order

from escala.databases.replicas.database import Database
from escala.databases.scattering.scatter_request import scatter
from escala.databases.sharding.hot_keys import HotKeys
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.sharded_database import ShardedDatabase
from escala.databases.sharding.sharded_session import ShardedSession
from escala.errors import ConfigError, MapOutdated, NoShardKey, UnknownKey

TABLE: Any = Order.__table__
LINES: Any = Line.__table__
MAP = ShardMap.directory({"ann": "s0", "bob": "s1", "cy": "s0", "dee": "s1"}, key="customer")


def opened(folder: Path, shard_map: ShardMap = MAP, **options: Any) -> ShardedDatabase:
    urls = {name: f"sqlite:///{folder}/{name}.db" for name in shard_map.shards}
    options = {"tables": TABLES, "reference": REFERENCE, **options}
    return ShardedDatabase(shard_map, urls, **options)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with a country on both shards, and a customer with an order of two lines on each."""
    folder = tmp_path_factory.mktemp("shards")
    with opened(folder) as shards:
        shards.install()
        for name in shards.names:
            Base.metadata.create_all(shards.engine(name))
            with shards.engine(name).begin() as connection:
                connection.execute(insert(Country).values(code="de", title="Germany"))
        for name, ident in (("ann", 1), ("bob", 2)):
            with shards.session() as session, session.begin():
                lines = [Line(customer=name, number=n, what=f"{name} {n}") for n in (1, 2)]
                order = Order(id=ident, total=ident * 10, lines=lines)
                session.add(Customer(name=name, country_code="de", orders=[order]))
    return folder


@pytest.fixture
def shards(tmp_path: Path, filled: Path) -> Iterator[ShardedDatabase]:
    for name in MAP.shards:
        shutil.copy(filled / f"{name}.db", tmp_path)
    with opened(tmp_path) as made:
        yield made


@pytest.fixture
def session(shards: ShardedDatabase) -> Iterator[ShardedSession]:
    with shards.session() as made:
        yield made


def rows(shards: ShardedDatabase, sql: str) -> dict[str, list[Any]]:
    """What each database has, asked without Escala."""
    found = {}
    for name in sorted(shards.names):
        with shards.engine(name).connect() as connection:
            found[name] = [tuple(row) for row in connection.execute(text(sql))]
    return found


def test_objects_are_written_where_their_key_is(shards: ShardedDatabase) -> None:
    assert rows(shards, "SELECT name FROM customers") == {"s0": [("ann",)], "s1": [("bob",)]}
    assert rows(shards, "SELECT id FROM orders") == {"s0": [(1,)], "s1": [(2,)]}
    assert rows(shards, "SELECT item FROM lines ORDER BY 1") == {
        "s0": [("ann 1",), ("ann 2",)],
        "s1": [("bob 1",), ("bob 2",)],
    }


def test_a_key_in_the_where_clause_finds_the_shard(session: ShardedSession) -> None:
    ask = select(Order.total)
    assert session.scalar(ask.where(Order.customer == "bob")) == 20
    assert session.scalar(ask.where(Order.customer == "bob")) == 20
    assert session.scalar(ask.where((Order.customer == "bob") & (Order.total > 1))) == 20
    assert session.scalars(ask.where(Order.customer.in_(["bob", "dee"]))).all() == [20]
    other = aliased(Order)
    assert session.scalar(select(other.total).where(other.customer == "bob")) == 20
    table: Any = Order.__table__
    assert session.scalar(select(table.c.total).where(table.c.customer == "bob")) == 20
    assert session.scalar(select(ask.where(Order.customer == "bob").subquery())) == 20
    assert session.scalars(select(Order).filter_by(customer="ann")).one().total == 10


def test_a_statement_may_say_a_key_and_so_may_a_session(
    shards: ShardedDatabase, session: Any
) -> None:
    total = select(Order.total)
    assert session.scalar(total.execution_options(shard_key="bob")) == 20
    assert session.scalar(total, execution_options={"shard_key": "ann"}) == 10
    assert (
        session.scalar(text("SELECT total FROM orders"), execution_options={"shard_key": "ann"})
        == 10
    )
    assert session.scalar(total, bind_arguments={"shard": "s1"}) == 20
    with shards.session(key="bob") as bobs:
        assert bobs.scalar(total) == 20
        assert bobs.get(Order, 2).total == 20  # type: ignore[union-attr]
        assert bobs.scalar(text("SELECT total FROM orders")) == 20
        assert bobs.connection().scalar(text("SELECT total FROM orders")) == 20
        assert bobs.scalar(total.where(Order.customer == "ann")) == 10  # what it says goes first


def test_what_is_loaded_for_an_object_comes_from_its_shard(session: ShardedSession) -> None:
    bob = session.get(Customer, "bob")
    assert bob is not None
    assert inspect(bob).identity_token == "s1"
    assert session.get(Customer, "bob") is bob
    (order,) = bob.orders  # lazily: by orders.customer
    assert [line.what for line in order.lines] == ["bob 1", "bob 2"]  # and by lines.order_id alone
    assert order.owner is bob
    assert bob.country is not None
    assert bob.country.title == "Germany"
    assert session.get(Line, ("bob", 2, 1)) is order.lines[0]
    session.expire(order)
    assert order.total == 20
    session.refresh(order)
    session.commit()
    assert order.total == 20  # expired by the commit


@pytest.mark.parametrize("load", [joinedload, selectinload], ids=["joined", "selectin"])
def test_eager_loads_stay_on_the_shard(session: ShardedSession, load: Any) -> None:
    options = load(Customer.orders).options(load(Order.lines)), load(Customer.country)
    ask = select(Customer).where(Customer.name == "bob").options(*options)
    bob = session.scalars(ask).unique().one()
    assert [line.what for line in bob.orders[0].lines] == ["bob 1", "bob 2"]
    assert inspect(bob.orders[0].lines[0]).identity_token == "s1"


def test_a_get_needs_the_key(session: ShardedSession) -> None:
    with pytest.raises(NoShardKey, match=r"orders: expected one value of customer; say \.where"):
        session.get(Order, 2)
    assert session.get(Order, 2, execution_options={"shard_key": "bob"}).total == 20  # type: ignore[union-attr]
    assert session.get(Order, 2, execution_options={"shard_key": "ann"}) is None
    assert session.get(Order, 2, bind_arguments={"shard": "s1"}).total == 20  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(select(Order), id="no where"),
        pytest.param(select(Order).where(Order.total == 1), id="another column"),
        pytest.param(select(Order).where(Order.customer > "bob"), id="a range"),
        pytest.param(select(Order).where((Order.customer == "ann") | (Order.total == 1)), id="or"),
        pytest.param(select(Order).where(Order.customer != "bob"), id="not equal"),
        pytest.param(select(Order).where(~(Order.customer == "bob")), id="not"),
        pytest.param(select(Order).where(func.lower(Order.customer) == "bob"), id="a function"),
        pytest.param(select(Order).where(Order.customer.in_(["ann", "bob"])), id="two shards"),
        pytest.param(
            select(Order).where(Order.customer.in_(select(Customer.name))), id="in a query"
        ),
        pytest.param(select(func.count()).select_from(Order), id="count"),
        pytest.param(
            select(Order).join(Order.owner).where(Customer.country_code == "de"), id="join"
        ),
        pytest.param(
            select(Order).where(
                Order.customer == "ann",
                Order.total > select(func.avg(Order.total)).scalar_subquery(),
            ),
            id="a query within, for all",
        ),
        pytest.param(
            select(Order.id).where(Order.customer == "ann").union(select(Order.id)),
            id="half a union",
        ),
        pytest.param(update(Order).values(total=1), id="update"),
        pytest.param(delete(Order).where(Order.total == 1), id="delete"),
        pytest.param(
            insert(Order).from_select(["id", "customer"], select(Line.order_id, Line.customer)),
            id="insert from",
        ),
        pytest.param(
            select(Order.id).where(
                Order.customer == "ann",
                Order.id.in_(select(Line.order_id).where(Line.customer == aliased(Order).customer)),
            ),
            id="a query within, for the keys of its own",
        ),
        pytest.param(text("SELECT 1"), id="text"),
    ],
)
def test_without_one_key_nothing_is_asked(session: ShardedSession, statement: Any) -> None:
    with pytest.raises(NoShardKey, match=r"shard_key=…"):
        session.execute(statement)
    assert not session.on_shards.inside


def test_queries_within_a_statement_may_be_for_the_same_key(session: ShardedSession) -> None:
    line, order = aliased(Line), aliased(Order)
    bobs = order.customer == "bob"
    within = select(func.count()).where(line.customer == "bob", line.order_id == order.id)
    assert session.execute(select(order.id, within.scalar_subquery()).where(bobs)).all() == [(2, 2)]
    follows = select(line.order_id).where(line.customer == order.customer).exists()
    assert session.scalars(select(order.id).where(bobs, follows)).all() == [2]
    one = select(Order.id).where(Order.customer == "bob")
    assert session.execute(one.union_all(one)).all() == [(2,), (2,)]
    mine = select(Order.id.label("id")).where(Order.customer == "bob").cte()
    assert session.scalars(select(mine.c.id)).all() == [2]
    outer = select(Order.id, Order.customer).subquery()
    with pytest.raises(NoShardKey, match="in each of the queries within the statement"):
        session.execute(select(outer.c.id).where(outer.c.customer == "bob"))
    anns = select(Order.id).where(Order.customer == "ann")
    with pytest.raises(NoShardKey, match="found keys on the shards s0, s1"):
        session.execute(one.union(anns))
    other = aliased(Order)
    both = select(order.id).join(other, other.id > order.id).where(bobs, other.customer == "ann")
    with pytest.raises(NoShardKey, match="found keys on the shards s0, s1"):
        session.execute(both)


def test_a_flush_updates_and_deletes_where_the_object_is(
    shards: ShardedDatabase, session: ShardedSession
) -> None:
    bob = session.get_one(Customer, "bob")
    order = bob.orders[0]
    session.commit()
    order.total = 25
    session.commit()
    assert rows(shards, "SELECT id, total FROM orders") == {"s0": [(1, 10)], "s1": [(2, 25)]}
    session.delete(order)
    session.commit()
    assert rows(shards, "SELECT id FROM orders") == {"s0": [(1,)], "s1": []}
    assert rows(shards, "SELECT count(*) FROM lines") == {"s0": [(2,)], "s1": [(0,)]}


def test_statements_change_rows_of_one_shard(shards: ShardedDatabase, session: Any) -> None:
    changed = session.execute(update(Order).where(Order.customer == "bob").values(total=7))
    assert changed.rowcount == 1
    session.commit()
    gone = session.execute(delete(Line).where(Line.customer == "bob", Line.number == 1))
    assert gone.rowcount == 1
    session.commit()
    with shards.session(key="ann") as anns, anns.begin():
        anns.execute(insert(Order).values(id=3, customer="ann", total=3))
        anns.execute(update(Order).where(Order.id == 3).values(total=4))
    assert rows(shards, "SELECT id, total FROM orders") == {"s0": [(1, 10), (3, 4)], "s1": [(2, 7)]}


@pytest.mark.parametrize("how", [insert(Order), insert(TABLE)], ids=["orm", "core"])
def test_many_rows_of_one_shard_are_inserted_at_once(
    shards: ShardedDatabase, session: Any, how: Any
) -> None:
    made = [{"id": n, "customer": "dee", "total": n} for n in range(10, 15)]
    session.execute(how, made)
    session.commit()
    assert rows(shards, "SELECT count(*) FROM orders WHERE customer = 'dee'")["s1"] == [(5,)]
    values = [{"id": n, "customer": "dee", "total": n} for n in (20, 21)]
    assert session.scalars(how.values(values).returning(Order.id)).all() == [20, 21]
    assert session.scalars(how.returning(Order.id), [{"id": 30, "customer": "bob"}]).all() == [30]
    with pytest.raises(NoShardKey, match=r"in values\(\[...\]\) belong to the shards s0, s1"):
        session.execute(how.values([{"id": 40, "customer": "dee"}, {"id": 41, "customer": "cy"}]))
    with pytest.raises(NoShardKey, match=r"orders\.customer is the shard key: expected a value"):
        session.execute(how, [{"id": 40, "customer": "dee"}, {"id": 41}])


def test_many_rows_are_updated_by_their_primary_key(shards: ShardedDatabase, session: Any) -> None:
    keys = {"customer": "bob", "order_id": 2}
    changed = [{**keys, "number": 1, "what": "one"}, {**keys, "number": 2, "what": "two"}]
    session.execute(update(Line), changed)
    session.commit()
    assert rows(shards, "SELECT item FROM lines ORDER BY 1")["s1"] == [("one",), ("two",)]
    with pytest.raises(NoShardKey):
        session.execute(update(Order), [{"id": 2, "total": 1}])


def test_a_shard_key_is_not_changed_in_place(shards: ShardedDatabase, session: Any) -> None:
    order = session.get(Customer, "bob").orders[0]
    order.customer = "cy"
    with pytest.raises(NoShardKey, match=r"customer = 'cy' is on the shard 's0', and the object"):
        session.flush()
    session.rollback()
    with pytest.raises(NoShardKey, match=r"orders\.customer is the shard key, which an update"):
        session.execute(update(Order).where(Order.customer == "bob").values(customer="dee"))
    order = session.get(Customer, "bob").orders[0]
    session.add(Customer(name="dee"))
    order.customer = "dee"  # of the same shard
    session.commit()
    assert rows(shards, "SELECT customer FROM orders") == {"s0": [("ann",)], "s1": [("dee",)]}


BOB = TABLE.c.customer == "bob"
NEW: Any = upsert(Order).values(id=2, customer="bob", total=5)


@pytest.mark.parametrize(
    ("change", "values"),
    [
        pytest.param(update(TABLE).where(BOB), {"customer": "ann"}, id="a value"),
        pytest.param(
            update(TABLE).where(TABLE.c.customer == bindparam("key")),
            [{"key": "bob", "customer": "ann"}],
            id="many values",
        ),
        pytest.param(update(Order).where(Order.customer == "bob"), {"customer": "ann"}, id="orm"),
        pytest.param(update(Order), [{"id": 2, "customer": "ann"}], id="by primary key"),
        pytest.param(
            scatter(update(Order).where(Order.customer == "bob"), max_shards=2),
            {"customer": "ann"},
            id="scatter",
        ),
        pytest.param(
            NEW.on_conflict_do_update(index_elements=["id"], set_={"customer": "ann"}),
            None,
            id="on conflict",
        ),
        pytest.param(
            NEW.on_conflict_do_update(
                index_elements=["id"], set_={"customer": Order.customer + "x"}
            ),
            None,
            id="on conflict, computed",
        ),
        pytest.param(
            insert(Order).from_select(
                ["id", "customer"],
                select(Order.id + 9, literal("ann")).where(Order.customer == "bob"),
            ),
            None,
            id="from a query",
        ),
        pytest.param(
            insert(Order).from_select(
                ["id", "customer"],
                select(Order.id + 9, Order.customer + "x").where(Order.customer == "bob"),
            ),
            None,
            id="from a query, computed",
        ),
        pytest.param(
            insert(Order).from_select(["id"], select(Order.id + 9).where(Order.customer == "bob")),
            None,
            id="from a query, without",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*on_conflict_do_update")
def test_no_statement_puts_a_row_on_a_shard_that_is_not_its_own(
    shards: ShardedDatabase, change: Any, values: Any
) -> None:
    with shards.session(key="bob") as session:
        with pytest.raises(NoShardKey):
            session.execute(change, values)
        session.commit()
    assert rows(shards, "SELECT id, customer FROM orders") == {
        "s0": [(1, "ann")],
        "s1": [(2, "bob")],
    }


def test_rows_may_come_of_a_query_and_meet_others(shards: ShardedDatabase, session: Any) -> None:
    named = ["id", "customer", "total"]
    mine = select(Order.id + 9, Order.customer, Order.total).where(Order.customer == "bob")
    session.execute(insert(Order).from_select(named, mine))
    made = select(literal(12), literal("dee"), func.length(Country.code))
    session.execute(insert(Order).from_select(named, made))
    session.execute(
        NEW.on_conflict_do_update(index_elements=["id"], set_={**NEW.excluded, "customer": "bob"})
    )
    session.commit()
    assert rows(shards, "SELECT id, customer, total FROM orders ORDER BY id")["s1"] == [
        (2, "bob", 5),
        (11, "bob", 20),
        (12, "dee", 2),
    ]


def test_rows_may_be_without_names_and_none(shards: ShardedDatabase, session: Any) -> None:
    session.execute(insert(TABLE).values([(21, "bob", 1), (22, "dee", 2)]))
    session.execute(insert(TABLE).values((23, "bob", 3)))
    session.commit()
    assert rows(shards, "SELECT id FROM orders WHERE id > 20")["s1"] == [(21,), (22,), (23,)]
    for insertion in (insert(Order), insert(TABLE)):
        with pytest.raises(NoShardKey, match="expected a value, found none"):
            session.execute(insertion, [])


def test_many_rows_of_a_table_are_not_updated_by_a_primary_key(session: Any) -> None:
    row = {"customer": "bob", "order_id": 2, "number": 1, "item": "one"}
    with pytest.raises(NoShardKey):
        session.execute(update(LINES), [row])  # would be all of its rows


@pytest.mark.parametrize("many", ["insert", "update"])
def test_the_older_ways_to_write_many_say_which_is_the_new_one(session: Any, many: str) -> None:
    write = getattr(session, f"bulk_{many}_mappings")
    with pytest.raises(ConfigError, match=r"execute\(insert\(…\), \[…\]\)"):
        write(Order, [{"id": 2, "customer": "bob"}])


def test_there_is_no_connection_to_an_unknown_shard(session: Any) -> None:
    with pytest.raises(NoShardKey, match="there is no shard 's9'"):
        session.connection(bind_arguments={"shard": "s9"})


@pytest.mark.parametrize(
    ("key", "says"),
    [
        pytest.param(None, "expected a value, found none", id="none"),
        pytest.param(7, "expected a key of type str, found 7", id="a number"),
        pytest.param(b"bob", "expected a key of type str, found b'bob'", id="bytes"),
    ],
)
def test_a_key_of_the_wrong_type_is_refused(session: Any, key: Any, says: str) -> None:
    for wrong in (
        lambda: session.execute(select(Order).where(Order.__table__.c.customer.in_([key]))),
        lambda: session.execute(insert(Order), [{"id": 1, "customer": key}]),
        lambda: (session.add(Order(id=1, customer=key)), session.flush()),
    ):
        with pytest.raises(NoShardKey, match=says):
            wrong()
        session.rollback()


@pytest.mark.parametrize("key", [7, b"ann", ("ann", "bob")], ids=["number", "bytes", "two"])
def test_a_key_given_by_itself_has_to_be_one_of_the_table(session: Any, key: Any) -> None:
    with pytest.raises(NoShardKey, match=r"found (7: of another|b'ann': of another|the key \(')"):
        session.execute(select(Order), execution_options={"shard_key": key})


def test_a_key_that_no_shard_has_is_refused(session: ShardedSession) -> None:
    with pytest.raises(UnknownKey):
        session.execute(select(Order).where(Order.customer == "nobody"))


def test_a_table_of_no_list_is_refused(session: ShardedSession) -> None:
    says = "the table 'notes' is neither in tables nor in reference"
    for wrong in (select(Note), select(Order).join(Note, Note.id == Order.id)):
        with pytest.raises(ConfigError, match=says):
            session.execute(wrong.where(Order.customer == "bob"))
    session.add(Note(id=1))
    with pytest.raises(ConfigError, match=says):
        session.flush()


def test_the_second_shard_that_is_written_is_refused(
    shards: ShardedDatabase, session: ShardedSession
) -> None:
    says = "'s1' would be written in one transaction with 's0': SQLite cannot commit them together"
    with pytest.raises(ConfigError, match=says):
        session.execute(insert(Order), [{"id": 7, "customer": "ann"}, {"id": 8, "customer": "bob"}])
    session.rollback()
    session.add_all([Customer(name="cy"), Customer(name="dee")])
    with pytest.raises(ConfigError, match=says):
        session.commit()
    session.rollback()
    with pytest.raises(ConfigError, match=says):
        session.execute(insert(Country).values(code="fr", title="France"))
    session.rollback()
    assert rows(shards, "SELECT count(*) FROM orders") == {"s0": [(1,)], "s1": [(1,)]}
    assert rows(shards, "SELECT count(*) FROM customers") == {"s0": [(1,)], "s1": [(1,)]}


def test_both_shards_may_be_read(session: ShardedSession) -> None:
    ann, bob = (session.get_one(Customer, name) for name in ("ann", "bob"))
    assert (ann.orders[0].total, bob.orders[0].total) == (10, 20)
    assert dict(session.on_shards.inside) == {"s0": False, "s1": False}
    ann.orders[0].total = 11
    session.commit()
    assert ann.orders[0].total == 11


def test_a_reference_table_is_read_on_a_shard_that_is_in_use(session: ShardedSession) -> None:
    session.get(Customer, "bob")
    germany = session.scalars(select(Country)).one()
    assert dict(session.on_shards.inside) == {"s1": False}
    assert session.get(Country, "de") is germany
    session.commit()
    asked: list[str] = []
    for _ in range(4):  # in turn when none is
        session.scalars(select(Country)).one()
        asked += session.on_shards.inside
        session.rollback()
    assert sorted(asked) == ["s0", "s0", "s1", "s1"]


def test_an_object_can_be_merged(shards: ShardedDatabase, session: ShardedSession) -> None:
    order = Order(id=2, customer="bob", total=5)
    merged = session.merge(Customer(name="bob", country_code="de", orders=[order]))
    assert inspect(merged).identity_token == "s1"
    session.commit()
    assert rows(shards, "SELECT id, total FROM orders") == {"s0": [(1, 10)], "s1": [(2, 5)]}


def test_an_epoch_that_is_older_or_newer_settles_by_itself(tmp_path: Path, shards: Any) -> None:
    newer = MAP.pin("ann", "s1")
    with opened(tmp_path, newer) as router:
        with router.session() as session, session.begin():
            session.add(Customer(name="ann"))
        found = rows(shards, "SELECT name FROM customers ORDER BY 1")
        assert found == {"s0": [("ann",)], "s1": [("ann",), ("bob",)]}
    with shards.session() as session:  # our map is the old one: the first statement is repeated
        assert session.scalar(select(Customer.name).where(Customer.name == "bob")) == "bob"
        assert shards.map.epoch == 2
        assert session.scalar(select(Customer.name).where(Customer.name == "ann")) == "ann"
    assert rows(shards, "SELECT epoch FROM escala_shard") == {"s0": [(1,)], "s1": [(2,)]}
    with shards.session() as session:  # who goes there with the newer map brings it along
        session.scalar(select(Customer.name).where(Customer.name == "bob"))
        session.scalar(select(Customer.name).where(Customer.name == "cy"))
    assert rows(shards, "SELECT epoch FROM escala_shard") == {"s0": [(2,)], "s1": [(2,)]}


def test_a_map_that_changes_within_a_transaction_ends_it(tmp_path: Path, shards: Any) -> None:
    with shards.session() as session:
        session.get(Customer, "ann")
        with opened(tmp_path, MAP.pin("ann", "s1")) as router, router.session() as other:
            other.get(Customer, "bob")
        with pytest.raises(MapOutdated, match=r"'s1' has another map .* \(epoch 1\); roll back"):
            session.get(Customer, "bob")
        session.rollback()
        assert session.get(Customer, "bob") is not None
        assert shards.map.epoch == 2


def test_an_object_whose_key_has_moved_is_not_written(
    tmp_path: Path, shards: Any, session: Any
) -> None:
    order = session.get(Customer, "ann").orders[0]
    session.commit()
    with opened(tmp_path, MAP.pin("ann", "s1")) as router, router.session() as other:
        other.get(Customer, "ann")
        other.get(Customer, "cy")
    order.total = 99  # only this is known of it
    with pytest.raises(MapOutdated, match="what belongs to 'ann' has moved from 's0' to 's1'"):
        session.commit()
    assert rows(shards, "SELECT total FROM orders WHERE id = 1")["s0"] == [(10,)]


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s0.db"
    cases: list[tuple[Any, Any, dict[str, Any], str]] = [
        (MAP, {"s0": url}, {}, "expected a URL for s1"),
        (MAP, {"s0": url, "s1": "mysql://h/d"}, {}, "expected a URL such as"),
        (MAP, {"s0": url, "s1": "postgresql://a,b/d"}, {}, "expected the URL of one server"),
        (
            MAP,
            {"s0": url, "s1": url},
            {"tables": {"t": ("a", "b")}},
            "a column for each of customer",
        ),
        (MAP, {"s0": url, "s1": url}, {"reference": ["orders"]}, "found it in both"),
        (MAP, {"s0": url, "s1": url}, {"reference": "orders"}, "reference: expected a list"),
        (MAP, {"s0": url, "s1": url}, {"reference": None}, "reference: expected a list"),
        (MAP, {"s0": url, "s1": url}, {"reference": [Country]}, "expected the name of a table"),
        (MAP, {"s0": url, "s1": url}, {"tables": ["orders"]}, "a mapping of names to keys"),
        (MAP, {"s0": url, "s1": url}, {"tables": {Order: "customer"}}, "the name of a table"),
        (MAP, {"s0": url, "s1": url}, {"tables": {"t": ""}}, "t: expected the name of a column"),
        (MAP, {"s0": url, "s1": url}, {"tables": {"t": None}}, "the name of a column, found None"),
        ("slots", {"s0": url, "s1": url}, {}, "expected a ShardMap, found 'slots'"),
        (MAP, [url], {}, "shards: expected a mapping"),
        (
            MAP,
            {"s0": url, "s1": url},
            {"isolation_level": "AUTOCOMMIT"},
            "isolation_level: expected one with transactions",
        ),
    ]
    for shard_map, urls, options, says in cases:
        with pytest.raises(ConfigError, match=says):
            ShardedDatabase(shard_map, urls, **{"tables": TABLES, **options})


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, tables={"orders": "tenant"}) as shards, shards.session() as session:
        with pytest.raises(ConfigError, match="'orders' has no column 'tenant', which tables says"):
            session.execute(select(Order).where(Order.customer == "ann"))
        session.add(Order(customer="ann"))
        with pytest.raises(ConfigError, match="'orders' has no column 'tenant'"):
            session.flush()


def test_a_database_that_is_no_shard_or_another_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as shards:
        ask = select(Customer).where(Customer.name == "ann")
        with shards.session() as session, pytest.raises(ConfigError, match=r"run `install\(\)`"):
            session.execute(ask)
        shards.install()
        shards.install()
        crossed = {
            name: f"sqlite:///{tmp_path}/{other}.db" for name, other in (("s0", "s1"), ("s1", "s0"))
        }
        with ShardedDatabase(MAP, crossed, tables=TABLES) as wrong, wrong.session() as session:
            with pytest.raises(ConfigError, match="'s0' leads to another one: s1"):
                session.execute(ask)
            with pytest.raises(ConfigError, match="is the URL another shard's"):
                wrong.install()


def test_a_map_that_cannot_be_taken_over_is_refused(tmp_path: Path, shards: Any) -> None:
    with shards.engine("s0").begin() as connection:
        newer = ShardMap.directory({"ann": "s9"}, key="customer").pin("ann", "s9").to_json()
        connection.execute(text("UPDATE escala_shard SET epoch = 2, map = :map"), {"map": newer})
    with shards.session(key="ann") as session:
        with pytest.raises(MapOutdated, match="names shards without a URL here: s9"):
            session.execute(select(Customer))
        session.rollback()
        with shards.engine("s0").begin() as connection:
            connection.execute(text("UPDATE escala_shard SET epoch = 3, map = '[]'"))
        with pytest.raises(MapOutdated, match="has epoch 3, ours 1, and this version cannot read"):
            session.execute(select(Customer))


def test_a_session_has_no_engine_of_its_own(shards: Any) -> None:
    with pytest.raises(ConfigError, match="bind: a shard's engine is chosen by its key"):
        shards.session(bind=shards.engine("s0"))
    with pytest.raises(ConfigError, match="twophase: say two_phase"):
        shards.session(twophase=True)
    with shards.session() as session:
        with pytest.raises(NoShardKey, match=r"connection\(\) has to say which shard"):
            session.connection()
        alone = {"isolation_level": "AUTOCOMMIT"}
        with pytest.raises(ConfigError, match="AUTOCOMMIT ends the transaction"):
            session.connection(bind_arguments={"shard": "s0"}, execution_options=alone)
        session.rollback()
        with pytest.raises(NoShardKey, match="there is no shard 's7'"):
            session.execute(text("SELECT 1"), bind_arguments={"shard": "s7"})


def test_a_statement_that_may_write_enters_as_a_writer(session: ShardedSession) -> None:
    bobs = select(Order).where(Order.customer == "bob")
    for statement, writes in (
        (bobs, False),
        (bobs.with_for_update(), True),
        (bobs.where(func.nextval("numbers") > 0), True),
        (bobs.where(func.lower(Order.customer) == "bob"), False),
        (text("SELECT 1"), True),
    ):
        with contextlib.suppress(OperationalError):
            session.execute(statement, execution_options={"shard_key": "bob"})
        assert dict(session.on_shards.inside) == {"s1": writes}
        session.rollback()


@pytest.mark.parametrize("how", ["evaluate", "fetch", "auto", False])
def test_objects_follow_an_update_of_their_shard(session: ShardedSession, how: Any) -> None:
    ann, bob = (session.get_one(Customer, name).orders[0] for name in ("ann", "bob"))
    more = update(Order).values(total=Order.total + 1).where(Order.customer == "bob")
    session.execute(more, execution_options={"synchronize_session": how})
    session.refresh(bob)
    assert (ann.total, bob.total) == (10, 21)
    session.execute(delete(Order).where(Order.customer == "bob"))
    assert inspect(bob).was_deleted or bob in session.deleted or bob not in session


def test_the_older_query_interface_works(session: ShardedSession) -> None:
    assert session.query(Order).filter_by(customer="bob").one().total == 20
    assert session.query(Order).filter_by(customer="bob").update({"total": 3}) == 1
    assert session.query(Order).filter_by(customer="bob").count() == 1
    with pytest.raises(NoShardKey):
        session.query(Order).all()


def test_a_key_may_have_several_columns(tmp_path: Path) -> None:
    class Model(DeclarativeBase): ...

    class Tenant(Model):
        __tablename__ = "tenants"
        region: Mapped[str] = mapped_column(primary_key=True)
        tenant: Mapped[UUID] = mapped_column(primary_key=True)

    one, other = UUID(int=1), UUID(int=2)
    eu = ShardMap.directory({one: "eu1"}, key="tenant", otherwise="eu2")
    world = ShardMap.geo({"eu": eu, "us": "us"}, key=("region", "tenant"))
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in world.shards}
    with ShardedDatabase(world, urls, tables={"tenants": ("region", "tenant")}) as shards:
        shards.install()
        for name in shards.names:
            Model.metadata.create_all(shards.engine(name))
        us = select(Tenant).where(Tenant.region == "us")
        for region, tenant, shard in (("eu", one, "eu1"), ("eu", other, "eu2"), ("us", one, "us")):
            with shards.session() as session:
                session.add(Tenant(region=region, tenant=tenant))
                session.commit()
                found = session.get_one(Tenant, (region, tenant))
                assert inspect(found).identity_token == shard
                assert session.get(Tenant, {"region": region, "tenant": tenant}) is found
            with shards.session(key=(region, tenant)) as session:
                assert session.scalars(select(Tenant)).one().tenant == tenant
                assert (session.scalar(us) is None) is (region == "eu")  # half a key is none
        with shards.session() as session, pytest.raises(NoShardKey, match="region and tenant"):
            session.scalar(us)


def test_keys_of_a_reference_table_are_given(tmp_path: Path) -> None:
    class Model(DeclarativeBase): ...

    class Unit(Model):
        __tablename__ = "units"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    urls = {"s0": f"sqlite:///{tmp_path}/0.db"}
    shard_map = ShardMap.directory({"k": "s0"}, key="key")
    with ShardedDatabase(shard_map, urls, tables={"t": "key"}, reference=["units"]) as shards:
        shards.install()
        Model.metadata.create_all(shards.engine("s0"))
        made = {"id": 1, "title": "kg"}
        with shards.session() as session:
            cases: list[tuple[Any, Any]] = [
                (insert(Unit).values(title="kg"), None),
                (insert(Unit).values([{"title": "kg"}]), None),
                (insert(Unit), [made, {"title": "m"}]),
                (insert(Unit), {"title": "m"}),
            ]
            for wrong, given in cases:
                with pytest.raises(ConfigError, match="each would make another id: give it"):
                    session.execute(wrong, given)
            session.execute(insert(Unit).values(**made))
            session.execute(insert(Unit).values([{"id": 2, "title": "m"}]))
            session.execute(insert(Unit), [{"id": 3, "title": "s"}])
            session.execute(update(Unit).where(Unit.id == 3).values(title="A"))
            session.commit()
            assert session.scalars(select(Unit.title).order_by(Unit.id)).all() == ["kg", "m", "A"]
            far = update(Unit).values(title=select(Order.customer).scalar_subquery())
            with pytest.raises(ConfigError, match="'orders' is neither in tables"):
                session.execute(far)


def test_a_many_to_many_table_has_no_key(tmp_path: Path) -> None:
    class Model(DeclarativeBase): ...

    both = Table("both", Model.metadata, *(Column(name, Integer) for name in ("one", "two")))

    class Two(Model):
        __tablename__ = "twos"
        id: Mapped[int] = mapped_column(primary_key=True)
        key: Mapped[str]

    class One(Model):
        __tablename__ = "ones"
        id: Mapped[int] = mapped_column(primary_key=True)
        key: Mapped[str]
        twos: Mapped[list[Two]] = relationship(
            secondary=both,
            primaryjoin=lambda: One.id == foreign(both.c.one),
            secondaryjoin=lambda: Two.id == foreign(both.c.two),
        )

    shard_map = ShardMap.directory({"k": "s0"}, key="key")
    tables = {"ones": "key", "twos": "key"}
    with ShardedDatabase(shard_map, {"s0": f"sqlite:///{tmp_path}/0"}, tables=tables) as shards:
        shards.install()
        Model.metadata.create_all(shards.engine("s0"))
        with shards.session() as session:
            session.add(One(id=1, key="k", twos=[Two(id=1, key="k")]))
            with pytest.raises(NoShardKey, match="a many-to-many table has to be a class"):
                session.commit()
        with shards.session(key="k") as session:  # which says where it goes
            session.add(One(id=1, key="k", twos=[Two(id=1, key="k")]))
            session.commit()


def test_a_shard_may_be_a_database(tmp_path: Path, filled: Path) -> None:
    places: dict[str, str | Database] = {}
    for name in MAP.shards:
        shutil.copy(filled / f"{name}.db", tmp_path)
        places[name] = Database(f"sqlite:///{tmp_path}/{name}.db")
    made = ShardedDatabase(MAP, places, tables=TABLES, reference=REFERENCE)
    with made as shards, shards.session(key="bob") as session:
        shards.install()
        assert session.scalar(select(Order.total)) == 20
        with pytest.raises(ConfigError, match="SQLite cannot commit them together"):
            session.execute(insert(Country).values(code="fr", title="France"))

    async def ask() -> int | None:
        async with made as shards, shards.asession(key="bob") as session:
            await shards.ainstall()
            return await session.scalar(select(Order.total))

    assert asyncio.run(ask()) == 20


def test_hot_keys_are_told_of_each_key(tmp_path: Path, filled: Path) -> None:
    for name in MAP.shards:
        shutil.copy(filled / f"{name}.db", tmp_path)
    hot = HotKeys()
    with opened(tmp_path, hot_keys=hot) as shards, shards.session() as session:
        for _ in range(3):
            session.execute(select(Order).where(Order.customer == "bob"))
        session.execute(select(Order), execution_options={"shard_key": "ann"})
        session.add(Customer(name="dee"))
        session.flush()
        session.execute(insert(Order), [{"id": 9, "customer": "dee"}])
    counted = dict(hot.keys(5))
    assert counted == pytest.approx({"bob": 0.5, "dee": 0.33, "ann": 0.17}, abs=0.02)


def test_an_async_session_does_the_same(shards: ShardedDatabase) -> None:
    async def ask() -> None:
        async with shards, shards.asession() as session:
            options = [selectinload(Customer.orders)]
            bob = await session.get(Customer, "bob", options=options)
            assert bob is not None
            assert [order.total for order in bob.orders] == [20]
            bob.orders[0].total = 21
            await session.commit()
            assert await session.scalar(select(Order.total).where(Order.customer == "bob")) == 21
            with pytest.raises(NoShardKey):
                await session.execute(select(Order))

    asyncio.run(ask())

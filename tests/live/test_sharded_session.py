"""Sessions over three real databases, in each colour: which shard has what, all or nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, func, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.exc import ObjectDeletedError
from tests.databases.shop import REFERENCE, TABLES, Base, Country, Customer, Line, Order
from tests.servers.shard_databases import shard_databases

from escala.databases.scattering.scatter_request import scatter
from escala.databases.sharding.shard_events import MapInstalled, MapRefused, MapReloaded
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.shard_move import ShardMove
from escala.databases.sharding.shard_server import FENCE_LOCK
from escala.databases.sharding.sharded_database import ShardedDatabase
from escala.databases.sharding.sharded_session import ShardedSession
from escala.errors import ConfigError, MapOutdated, NoShardKey
from escala.kernel.events import Event, subscribe

pytestmark = pytest.mark.xdist_group("shards")

NAMES = ("s0", "s1", "s2")
MAP = ShardMap.directory({"ann": "s0", "bob": "s1", "cy": "s2", "dee": "s1"}, key="customer")
COLOURS = ("psycopg", "psycopg in a loop", "asyncpg")
Script = Callable[[Any], Any]


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with shard_databases(*NAMES) as found:
        with opened(found) as shards:
            shards.install()
            for name in NAMES:
                Base.metadata.create_all(shards.engine(name))
        yield found


@pytest.fixture(scope="module")
def admins(urls: dict[str, str]) -> Iterator[list[psycopg.Connection]]:
    """A connection to each database, without Escala."""
    made = [psycopg.connect(urls[name], autocommit=True) for name in NAMES]
    yield made
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def clean(admins: list[psycopg.Connection]) -> None:
    """Empty tables, but for a country on each shard, and the first map."""
    for admin in admins:
        admin.execute(
            "TRUNCATE countries, customers, orders, lines;"
            "INSERT INTO countries VALUES ('de', 'Germany')"
        )
        give(admin, MAP)


def give(admin: psycopg.Connection, shard_map: ShardMap) -> None:
    """Make this the map of the shard, whichever it had."""
    sql = "UPDATE escala.shard SET epoch = %s, map = %s"
    admin.execute(sql, (shard_map.epoch, shard_map.to_json()))


def opened(
    urls: dict[str, str], shard_map: ShardMap = MAP, colour: str = "psycopg", **options: Any
) -> ShardedDatabase:
    if colour == "asyncpg":
        urls = {name: f"postgresql+asyncpg{url[10:]}" for name, url in urls.items()}
    options = {"tables": TABLES, "reference": REFERENCE, **options}
    return ShardedDatabase(shard_map, urls, **options)


def run(shards: ShardedDatabase, colour: str, *scripts: Script, **options: Any) -> list[Any]:
    """Run each script in a session of its own, in that colour."""
    if colour == "psycopg":
        with shards:
            return [_within(shards, script, options) for script in scripts]

    async def all_of_them() -> list[Any]:
        async with shards:
            found = []
            for script in scripts:
                async with shards.asession(**options) as session:
                    found.append(await session.run_sync(script))
            return found

    return asyncio.run(all_of_them())


def _within(shards: ShardedDatabase, script: Script, options: Any) -> Any:
    with shards.session(**options) as session:
        return script(session)


def rows(admins: list[psycopg.Connection], sql: str) -> list[list[Any]]:
    """What each database has."""
    answers = [admin.execute(sql.encode()).fetchall() for admin in admins]
    return [[each[0] if len(each) == 1 else each for each in answer] for answer in answers]


def customers(session: ShardedSession) -> None:
    for number, name in enumerate(("ann", "bob", "cy")):
        lines = [Line(customer=name, number=n, what=f"{name} {n}") for n in (1, 2)]
        order = Order(id=number, total=number * 10, lines=lines)
        session.add(Customer(name=name, country_code="de", orders=[order]))
    session.commit()


@pytest.mark.parametrize("colour", COLOURS)
def test_rows_are_where_their_key_is(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    def read(session: ShardedSession) -> None:
        bob = session.get(Customer, "bob")
        assert bob is not None
        assert inspect(bob).identity_token == "s1"
        (order,) = bob.orders
        assert [line.what for line in order.lines] == ["bob 1", "bob 2"]
        assert bob.country is not None
        assert bob.country.title == "Germany"
        order.total += 1
        session.commit()
        session.refresh(order)
        assert order.total == 11
        ask = select(Customer).options(selectinload(Customer.orders).selectinload(Order.lines))
        cy = session.scalars(ask.where(Customer.name == "cy")).one()
        assert [line.what for line in cy.orders[0].lines] == ["cy 1", "cy 2"]
        session.delete(cy)
        session.commit()
        with pytest.raises(NoShardKey):
            session.execute(select(func.count()).select_from(Order))

    run(opened(urls, colour=colour), colour, customers, read)
    assert rows(admins, "SELECT name FROM customers") == [["ann"], ["bob"], []]
    assert rows(admins, "SELECT id, total FROM orders") == [[(0, 0)], [(1, 11)], []]
    assert rows(admins, "SELECT count(*) FROM lines") == [[2], [2], [0]]
    assert rows(admins, "SELECT gid FROM pg_prepared_xacts") == [[], [], []]


@pytest.mark.parametrize("colour", COLOURS)
def test_many_rows_are_split_by_shard(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    made = [
        {"id": n, "customer": name, "total": n}
        for n, name in enumerate(("ann", "bob", "cy", "bob", "ann", "dee"))
    ]

    def fill(session: ShardedSession) -> None:
        session.add_all([Customer(name=name) for name in ("ann", "bob", "cy", "dee")])
        session.execute(insert(Order), made[:3])  # what is pending goes first
        session.execute(insert(Order.__table__), made[3:])  # type: ignore[arg-type]
        session.commit()
        lines = [
            {"customer": name, "order_id": n, "number": 1, "what": f"{name} {n}"}
            for n, name in ((0, "ann"), (2, "cy"), (1, "bob"), (4, "ann"))
        ]
        back = insert(Line).returning(Line, sort_by_parameter_order=True)
        found = session.scalars(back, lines).all()
        assert [line.what for line in found] == ["ann 0", "cy 2", "bob 1", "ann 4"]
        assert [inspect(line).identity_token for line in found] == ["s0", "s2", "s1", "s0"]
        ids = session.scalars(
            insert(Order).returning(Order.id), [{"id": n + 10, "customer": "cy"} for n in range(3)]
        )
        assert sorted(ids) == [10, 11, 12]
        orders = session.scalars(
            update(Order)
            .where(Order.customer == "cy", Order.id > 10)
            .values(total=3)
            .returning(Order)
        ).all()
        assert {inspect(order).identity_token for order in orders} == {"s2"}
        assert session.get(Order, 11, execution_options={"shard_key": "cy"}) in orders
        changed = [{"customer": "bob", "order_id": 1, "number": 1, "what": "new"}]
        session.execute(update(Line), changed)
        session.commit()

    run(opened(urls, colour=colour), colour, fill)
    found = rows(admins, "SELECT id FROM orders ORDER BY 1")
    assert found == [[0, 4], [1, 3, 5], [2, 10, 11, 12]]
    found = rows(admins, "SELECT item FROM lines ORDER BY 1")
    assert found == [["ann 0", "ann 4"], ["new"], ["cy 2"]]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_table_of_all_shards_is_written_on_all(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    def write(session: ShardedSession) -> None:
        session.execute(insert(Country).values(code="fr", title="Frnace"))
        session.execute(insert(Country), [{"code": "it", "title": "Italy"}])
        session.add(Country(code="es", title="Spain"))
        session.flush()
        session.execute(update(Country).where(Country.code == "fr").values(title="France"))
        session.commit()
        spain = session.get(Country, "es")
        assert spain is not None
        spain.title = "España"
        session.delete(session.get_one(Country, "it"))
        session.commit()
        session.add(Country(code="pt", title="Portugal"))
        session.flush()
        session.rollback()

    run(opened(urls, colour=colour), colour, write)
    everywhere = [("de", "Germany"), ("es", "España"), ("fr", "France")]
    assert rows(admins, "SELECT code, title FROM countries ORDER BY 1") == [everywhere] * 3


@pytest.mark.parametrize("colour", COLOURS)
def test_a_commit_over_shards_is_all_or_nothing(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    """What SQLAlchemy's own sharded session leaves half done: see tests/peers."""
    admins[2].execute(
        "ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey, ADD CONSTRAINT "
        "late FOREIGN KEY (customer) REFERENCES customers DEFERRABLE INITIALLY DEFERRED"
    )

    def half(session: ShardedSession) -> None:
        session.add_all([Customer(name="ann"), Customer(name="bob")])
        session.flush()
        session.execute(insert(Order), [{"id": 5, "customer": "cy"}])  # there is no such customer
        with pytest.raises((IntegrityError, DBAPIError), match="late"):
            session.commit()
        session.rollback()
        session.add(Customer(name="ann"))  # the session is as good as new
        session.commit()

    try:
        run(opened(urls, colour=colour), colour, half)
    finally:
        admins[2].execute(
            "ALTER TABLE orders DROP CONSTRAINT late, ADD CONSTRAINT orders_customer_fkey "
            "FOREIGN KEY (customer) REFERENCES customers"
        )
    assert rows(admins, "SELECT name FROM customers") == [["ann"], [], []]
    assert rows(admins, "SELECT gid FROM pg_prepared_xacts") == [[], [], []]


def test_without_two_phase_the_second_shard_is_refused(
    urls: dict[str, str], admins: list[psycopg.Connection]
) -> None:
    with opened(urls, two_phase=False) as shards, shards.session() as session:
        session.add_all([Customer(name="ann"), Customer(name="bob")])
        with pytest.raises(ConfigError, match="'s1' would be written in one transaction with 's0'"):
            session.commit()
        session.rollback()
        session.add(Customer(name="ann"))
        session.commit()
    assert rows(admins, "SELECT name FROM customers") == [["ann"], [], []]


@pytest.mark.parametrize("colour", COLOURS)
def test_the_epoch_costs_one_statement(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    said: list[str] = []

    def work(session: ShardedSession) -> None:
        engine = session.get_bind(shard="s1")
        event.listen(engine, "before_cursor_execute", lambda *found: said.append(found[2][:19]))
        session.get(Customer, "bob")
        session.get(Customer, "dee")
        session.commit()
        session.add(Customer(name="bob"))
        session.add(Customer(name="dee"))
        session.commit()

    run(opened(urls, colour=colour), colour, work)
    read = [each.partition("\n")[0].strip() for each in said]
    assert read[:3] == ["SELECT escala.enter", "SELECT customers.na", "SELECT customers.na"]
    assert read[3:] == ["SELECT escala.enter", "INSERT INTO custome"]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_newer_map_of_a_shard_is_taken_over(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    """The first statement is repeated, on the shard where the newer map says."""
    newer = MAP.pin("bob", "s2")
    give(admins[1], newer)
    told: list[Event] = []
    stop = subscribe(Event, told.append)

    def read(session: ShardedSession) -> None:
        assert session.get(Customer, "bob") is None
        assert session.on_shards.map.epoch == 2
        assert dict(session.on_shards.inside) == {"s2": False}

    def write(session: ShardedSession) -> None:
        session.add(Customer(name="bob"))
        session.commit()

    try:
        shards = opened(urls, colour=colour)
        run(shards, colour, read, write)
        assert [type(each) for each in told] == [MapRefused, MapReloaded, MapRefused, MapInstalled]
        assert [each.shard for each in told] == ["s1", "s1", "s2", "s2"]  # type: ignore[attr-defined]
        told.clear()
        run(opened(urls, colour=colour), colour, write_dee)
    finally:
        stop()
    assert rows(admins, "SELECT name FROM customers") == [[], ["dee"], ["bob"]]
    assert rows(admins, "SELECT epoch FROM escala.shard") == [[1], [2], [2]]


def write_dee(session: ShardedSession) -> None:
    session.add(Customer(name="dee"))
    session.commit()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_map_that_changes_after_the_first_statement_ends_the_transaction(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    newer = MAP.pin("ann", "s1")

    def work(session: ShardedSession) -> None:
        session.get(Customer, "bob")
        give(admins[1], newer)
        session.get(Customer, "dee")  # a reader that is in stays in
        session.add(Customer(name="dee"))
        with pytest.raises(MapOutdated, match=r"roll back and repeat all of it"):
            session.commit()
        session.rollback()
        session.add_all([Customer(name="dee"), Customer(name="ann")])
        session.commit()

    run(opened(urls, colour=colour), colour, work)
    assert rows(admins, "SELECT name FROM customers ORDER BY 1") == [[], ["ann", "dee"], []]


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_no_session_writes_behind_a_fence(
    urls: dict[str, str], admins: list[psycopg.Connection], level: str
) -> None:
    """The map changes while the session waits for the lock: it writes where the new one says.

    At the stricter levels its snapshot is from before the change, so it begins anew.
    """
    newer = MAP.pin("bob", "s2")
    with (
        opened(urls, isolation_level=level) as shards,
        psycopg.connect(urls["s1"], autocommit=True) as coordinator,
        shards.session() as session,
    ):
        coordinator.execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))

        def move_bob() -> None:
            sql = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not coordinator.execute(sql).fetchall():
                time.sleep(0.005)
            give(coordinator, newer)
            coordinator.execute("SELECT pg_advisory_unlock(%s)", (FENCE_LOCK,))

        moving = threading.Thread(target=move_bob)
        moving.start()
        commit_bob(session)
        moving.join(10)
    assert rows(admins, "SELECT name FROM customers") == [[], [], ["bob"]]


def commit_bob(session: ShardedSession) -> None:
    session.add(Customer(name="bob"))
    session.commit()


@pytest.mark.parametrize("colour", COLOURS)
def test_savepoints_work_and_keep_the_fence(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")

    def work(session: ShardedSession) -> None:
        session.get(Customer, "bob")  # to read only
        nested = session.begin_nested()
        session.add(Customer(name="dee"))
        session.flush()
        nested.rollback()
        assert session.scalar(held, bind_arguments={"shard": "s1"}) == 1
        session.add(Customer(name="bob"))
        with session.begin_nested():
            session.add(Customer(name="ann"))
        session.commit()

    run(opened(urls, colour=colour), colour, work)
    assert rows(admins, "SELECT name FROM customers") == [["ann"], ["bob"], []]


@pytest.mark.parametrize("colour", COLOURS)
def test_while_rows_move_each_is_seen_once(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    """Both shards have the rows; without a single key a statement sees those that are owned."""
    slots = ShardMap.slots(NAMES, key="customer", slots=64)
    names = [f"customer {n}" for n in range(40)]
    for admin in admins:
        give(admin, slots)
    mine = [name for name in names if slots.shard(name) == "s0"]
    moved = {slots.slot(name) for name in mine[: len(mine) // 2]}
    gone = [name for name in mine if slots.slot(name) in moved]
    stay = [name for name in mine if name not in gone]
    assert gone
    assert stay
    move = ShardMove(source="s0", target="s1", slots=tuple((slot, slot) for slot in sorted(moved)))
    copying = slots.with_moving(move)
    left = copying.moved(copying.moving[0])
    theirs = [name for name in names if slots.shard(name) == "s1"]

    def fill(session: ShardedSession) -> None:
        session.execute(insert(Customer), [{"name": name} for name in names])
        session.commit()

    def copy() -> None:
        for name in gone:
            admins[1].execute("INSERT INTO customers VALUES (%s, NULL)", (name,))

    def seen(session: ShardedSession) -> list[list[str]]:
        ask = select(Customer.name).order_by(Customer.name)
        return [list(session.scalars(ask, bind_arguments={"shard": name})) for name in ("s0", "s1")]

    def everywhere(session: ShardedSession) -> tuple[Any, Any]:
        every = select(Customer).order_by(Customer.name.collate("C"))
        count = select(func.count()).select_from(Customer)
        asked = session.scalars(scatter(every, max_shards=3)).all()
        assert [inspect(each).identity_token for each in asked] == [
            session.on_shards.map.shard(each.name) for each in asked
        ]
        return [each.name for each in asked], session.scalar(scatter(count, max_shards=3))

    def within(session: ShardedSession) -> None:
        """A query within a query would see both copies."""
        names = select(Customer.name)
        for statement in (names.where(Customer.name.in_(names)), select(names.subquery().c.name)):
            with pytest.raises(NoShardKey, match="while rows move in the queries within"):
                session.execute(statement, bind_arguments={"shard": "s1"})

    def change(session: ShardedSession) -> int:
        every = update(Customer).values(country_code="de")
        return session.execute(every, bind_arguments={"shard": "s0"}).rowcount  # type: ignore[attr-defined]

    run(opened(urls, slots, colour), colour, fill)
    copy()
    assert run(opened(urls, copying, colour), colour, seen, everywhere, within) == [
        [sorted(mine), sorted(theirs)],
        (sorted(names), len(names)),
        None,
    ]
    assert run(opened(urls, left, colour), colour, seen, everywhere, change) == [
        [sorted(stay), sorted(theirs + gone)],
        (sorted(names), len(names)),
        len(stay),
    ]


@pytest.mark.parametrize("colour", COLOURS)
def test_all_shards_are_asked_only_when_a_statement_says_so(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    def ask(session: ShardedSession) -> None:
        newest = select(Order).order_by(Order.total.desc()).limit(2)
        with pytest.raises(NoShardKey, match="or ask all shards with scatter"):
            session.scalars(newest)
        with pytest.raises(NoShardKey, match="may ask 2 shards"):
            session.scalars(scatter(newest, max_shards=2))
        session.add(Order(id=9, customer="bob", total=15))  # what is pending is seen
        found = session.scalars(scatter(newest, max_shards=3)).all()
        assert [order.total for order in found] == [20, 15]
        assert found[0].lines[0].what == "cy 1"
        two = scatter(select(func.sum(Order.total)), max_shards=2)
        assert session.scalar(two.where(Order.customer.in_(["ann", "bob"]))) == 25
        assert session.scalar(select(func.sum(Order.total)).where(Order.customer == "bob")) == 25
        every = scatter(update(Order).values(total=1), max_shards=3)
        assert session.execute(every).rowcount == 4  # type: ignore[attr-defined]
        session.commit()

    run(opened(urls, colour=colour), colour, customers, ask)
    assert rows(admins, "SELECT total FROM orders") == [[1], [1, 1], [1]]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_row_that_is_left_over_is_not_loaded_again(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    slots = ShardMap.slots(NAMES, key="customer", slots=64)
    for admin in admins:
        give(admin, slots)
    name = next(f"n{n}" for n in range(99) if slots.shard(f"n{n}") == "s0")
    slot = slots.slot(name)
    copying = slots.with_moving(ShardMove(source="s0", target="s1", slots=((slot, slot),)))
    moved = copying.moved(copying.moving[0])

    def work(session: ShardedSession) -> None:
        session.add(Customer(name=name, orders=[Order(id=1)]))
        session.commit()
        order = session.get_one(Customer, name).orders[0]
        session.commit()
        give(admins[0], moved)
        with pytest.raises(ObjectDeletedError):
            assert order.total
        session.rollback()
        order.total = 5
        with pytest.raises((ObjectDeletedError, MapOutdated)):
            session.commit()

    run(opened(urls, slots, colour), colour, work)
    assert rows(admins, "SELECT total FROM orders") == [[0], [], []]


def test_a_connection_may_have_options_of_its_own(urls: dict[str, str]) -> None:
    level = text("SELECT current_setting('transaction_isolation')")
    with opened(urls) as shards, shards.session(key="bob") as session:
        session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        assert session.scalar(level) == "serializable"
        session.commit()
        assert session.scalar(level) == "read committed"


def test_a_conflict_at_the_fence_later_in_a_transaction_is_told(
    urls: dict[str, str], admins: list[psycopg.Connection]
) -> None:
    with opened(urls, isolation_level="REPEATABLE READ") as shards, shards.session() as session:
        session.get(Customer, "bob")
        admins[1].execute("UPDATE escala.shard SET throttle = 0.001")
        session.add(Customer(name="bob"))
        with pytest.raises(OperationalError, match="could not serialize"):
            session.commit()
        session.rollback()
        session.add(Customer(name="bob"))
        session.commit()
        admins[1].execute("UPDATE escala.shard SET throttle = 0")


@pytest.mark.parametrize("colour", ["psycopg in a loop", "asyncpg"])
def test_who_is_cancelled_at_the_fence_leaves_nothing(
    urls: dict[str, str], admins: list[psycopg.Connection], colour: str
) -> None:
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    async def add(shards: ShardedDatabase, name: str) -> None:
        async with shards.asession() as session, session.begin():
            session.add(Customer(name=name))

    async def main() -> None:
        async with opened(urls, colour=colour) as shards:
            admins[1].execute("SELECT pg_advisory_lock(%s)", (FENCE_LOCK,))
            stuck = asyncio.create_task(add(shards, "bob"))
            for _ in range(1000):
                if admins[1].execute(waiting).fetchall():
                    break
                await asyncio.sleep(0.005)
            stuck.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stuck
            admins[1].execute("SELECT pg_advisory_unlock(%s)", (FENCE_LOCK,))
            await add(shards, "dee")
            pool: Any = shards.engine("s1", asynchronous=True).pool
            assert pool.checkedout() == 0

    asyncio.run(main())
    assert rows(admins, "SELECT name FROM customers") == [[], ["dee"], []]

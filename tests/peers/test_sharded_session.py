"""SQLAlchemy's own sharded session beside ours: the same rows, the same questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.horizontal_shard import ShardedSession as PeerSession
from tests.databases.shop import Base, Customer, Order
from tests.servers.shard_databases import shard_databases

from escala.databases.scattering.scatter_request import scatter
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.sharded_database import ShardedDatabase

pytestmark = pytest.mark.xdist_group("shards")

NAMES = ("s0", "s1", "s2")
PLACES = {"ann": "s0", "bob": "s1", "cy": "s2"}
MAP = ShardMap.directory(PLACES, key="customer")
TABLES = {"customers": "name", "orders": "customer", "lines": "customer"}
OF_ALL = select(Order.total).order_by(Order.total)


def peer_session(engines: dict[str, Engine]) -> PeerSession:
    """Set up as its documentation says, so that a query without a key goes to every shard."""

    def shard_of(mapper: Any, instance: Any, clause: Any = None) -> str:
        return PLACES[getattr(instance, "customer", None) or instance.name]

    return PeerSession(
        shard_chooser=shard_of,
        identity_chooser=lambda *_, **__: list(NAMES),
        execute_chooser=lambda _: list(NAMES),
        shards=engines,
    )


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[ShardedDatabase]:
    """Twelve orders with the totals 0 to 11, four on each shard."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in NAMES}
    with ShardedDatabase(MAP, urls, tables=TABLES, reference=["countries"]) as made:
        made.install()
        for number, (customer, name) in enumerate(PLACES.items()):
            Base.metadata.create_all(made.engine(name))
            orders = [{"id": n, "customer": customer, "total": n} for n in range(number, 12, 3)]
            with made.engine(name).begin() as connection:
                connection.execute(insert(Order), orders)
        yield made


def test_rows_of_several_shards(shards: ShardedDatabase) -> None:
    """`ORDER BY … LIMIT 4`, `OFFSET 4`, `count(*)`."""
    first, second = OF_ALL.limit(4), OF_ALL.limit(4).offset(2)
    count = select(func.count()).select_from(Order)
    with peer_session({name: shards.engine(name) for name in NAMES}) as peer:
        assert list(peer.scalars(first)) == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
        assert list(peer.scalars(second)) == [6, 9, 7, 10, 8, 11]
        assert list(peer.scalars(count)) == [4, 4, 4]
        with pytest.raises(NotImplementedError):
            peer.execute(insert(Order), [{"id": 20, "customer": "ann"}])
    with shards.session() as ours:
        assert list(ours.scalars(scatter(first, max_shards=3))) == [0, 1, 2, 3]
        assert list(ours.scalars(scatter(second, max_shards=3))) == [2, 3, 4, 5]
        assert list(ours.scalars(scatter(count, max_shards=3))) == [12]
        ours.execute(insert(Order), [{"id": 20, "customer": "ann"}])


def test_a_commit_that_fails_on_one_shard() -> None:
    """A foreign key that is checked at the commit: the peer has committed on others by then."""
    with shard_databases(*NAMES) as urls:
        shards = ShardedDatabase(MAP, urls, tables=TABLES, reference=["countries"])
        shards.install()
        for name, url in urls.items():
            Base.metadata.create_all(shards.engine(name))
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute(
                    "ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey, ADD FOREIGN KEY "
                    "(customer) REFERENCES customers DEFERRABLE INITIALLY DEFERRED"
                )

        def left(session: Any) -> int:
            """Write on all three, of which s2 cannot commit; on how many it is there then."""
            session.add_all(
                [Customer(name="ann"), Customer(name="bob"), Order(customer="cy", id=1)]
            )
            with pytest.raises(IntegrityError):
                session.commit()
            session.close()
            found = 0
            for url in urls.values():
                with psycopg.connect(url, autocommit=True) as admin:
                    found += len(admin.execute("DELETE FROM customers RETURNING 1").fetchall())
            return found

        engines = {
            name: create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
            for name, url in urls.items()
        }
        # The peer commits in no particular order: it is spared when the failing one comes first.
        assert max(left(peer_session(engines)) for _ in range(20)) > 0
        assert [left(shards.session()) for _ in range(20)] == [0] * 20
        for engine in engines.values():
            engine.dispose()
        shards.close()

"""How a router writes one order in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import CursorResult, delete, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.sharded_database import ShardedDatabase
from escala.databases.sharding.sharded_session import ShardedSession
from escala.errors import MapOutdated


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    amount: Mapped[int]


def opened(urls: Mapping[str, str], shard_map: ShardMap) -> ShardedDatabase:
    return ShardedDatabase(shard_map, urls, tables={"orders": "tenant_id"}, pool_size=4)


def writes(shards: ShardedDatabase) -> Callable[[str, str, int, int], int]:
    """What writes, and says how many rows it wrote."""

    def write(what: str, tenant: str, number: int, amount: int) -> int:
        while True:
            try:
                with shards.session() as session:
                    changed = _write(session, what, tenant, number, amount)
                    session.commit()
                    return changed
            except MapOutdated:  # nothing was done
                continue

    return write


def _write(session: ShardedSession, what: str, tenant: str, number: int, amount: int) -> int:
    if what == "insert":
        session.add(Order(id=number, tenant_id=tenant, amount=amount))
        return 1
    where = (Order.tenant_id == tenant, Order.id == number)
    statement = (
        update(Order).where(*where).values(amount=amount)
        if what == "update"
        else delete(Order).where(*where)
    )
    done = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(done, CursorResult)
    return done.rowcount

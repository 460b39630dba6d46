"""What a decision shard knows: which commits over several shards have happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from escala.databases.sharding.prepared import LOCKED, state_of
from escala.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_PATIENCE = "2s"


class Decision(NamedTuple):
    """A commit that has happened, and the shards that had promised."""

    gid: str
    participants: tuple[str, ...]


def begin(connection: Connection) -> None:
    """Number the transaction that will decide; see `forgettable`."""
    connection.exec_driver_sql("SELECT pg_catalog.pg_current_xact_id()").all()


def write(connection: Connection, gid: str, participants: Iterable[str]) -> None:
    """Write that it happens, as a part of the transaction. Fails when an abort was written."""
    from sqlalchemy import text
    from sqlalchemy.exc import IntegrityError

    insert = (
        "INSERT INTO escala.decisions (gid, outcome, participants) VALUES (:gid, 'commit', :by)"
    )
    names = msgspec.json.encode([*participants]).decode()
    try:
        connection.execute(text(insert), {"gid": gid, "by": names})
    except IntegrityError as error:
        raise Unavailable(
            f"two_phase: {gid!r} took longer than the sweeper's grace, and was aborted by it"
        ) from error


def settled(engine: Engine, gid: str) -> str | None:
    """What was decided: "commit" or "abort", which this makes it if nothing was.

    It waits for a coordinator that is just writing; `None` if that takes longer than 2 s.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        try:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            connection.execute(
                text(
                    "INSERT INTO escala.decisions (gid, outcome) VALUES (:gid, 'abort') "
                    "ON CONFLICT DO NOTHING"
                ),
                {"gid": gid},
            )
            select = text("SELECT outcome FROM escala.decisions WHERE gid = :gid")
            outcome = connection.execute(select, {"gid": gid}).scalar()
            connection.commit()
        except DBAPIError as error:
            if state_of(error) != LOCKED:
                raise
            return None
    return None if outcome is None else str(outcome)


def committed(connection: Connection) -> list[Decision]:
    """The commits that are written down here; ten thousand at most."""
    rows = connection.exec_driver_sql(
        "SELECT gid, participants FROM escala.decisions WHERE outcome = 'commit' LIMIT 10000"
    ).all()
    return [Decision(gid, tuple(msgspec.json.decode(names))) for gid, names in rows]


def forget(connection: Connection, gids: list[str]) -> None:
    """Remove these commits, and the aborts that no one can ask about any more.

    An abort has to stay while its coordinator may still come to decide. The transaction in which
    it would had its number before anything was prepared, thus before the abort was written: so
    when all that still run have later numbers, it is over.
    """
    from sqlalchemy import text

    connection.execute(
        text(
            "DELETE FROM escala.decisions WHERE gid = ANY(:gids) OR (outcome = 'abort' AND "
            "age(xmin) > age(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS xid)))"
        ),
        {"gids": gids},
    )

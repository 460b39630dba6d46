"""What a shard's own server knows: its name, the map's epoch, and who may enter a transaction.

Every transaction on a shard begins with `escala.enter(name, epoch, writes)`. The server refuses
it (SQLSTATE ES001) when its map has another epoch. One that writes holds a lock, shared with all
other writers, until its end: whoever takes the same lock for itself has seen the last of them,
changes `escala.shard`, and lets only writers with the new epoch in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from escala.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult

FENCE_LOCK = 111546413966433  # "escala" in ASCII; writers share it, a cutover takes it alone
OTHER_EPOCH = "ES001"  # SQLSTATE: DETAIL has the shard's epoch
OTHER_SHARD = "ES002"  # SQLSTATE: DETAIL has the shard's name
CONFLICT = "40001"  # SQLSTATE: the row changed after the transaction's snapshot
NOT_INSTALLED = frozenset({"3F000", "42883", "42P01"})  # no such schema, function, table

# Under READ COMMITTED each statement of the function sees what was committed before it began, so
# the epoch that is read after the lock is the present one. Under the stricter levels it would be
# that of the snapshot: a lock on the row then fails when the row has changed since (40001).
_ENTER = f"""
CREATE OR REPLACE FUNCTION escala.enter(given_name text, given_epoch bigint, writes boolean)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  its_name text;
  its_epoch bigint;
  pause double precision;
BEGIN
  IF writes THEN
    SELECT throttle INTO pause FROM escala.shard
      WHERE throttled_until > pg_catalog.clock_timestamp();
    IF pause > 0 THEN
      PERFORM pg_catalog.pg_sleep(pause);
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock_shared({FENCE_LOCK});
  END IF;
  IF writes AND pg_catalog.current_setting('transaction_isolation')
      IN ('repeatable read', 'serializable') THEN
    SELECT name, epoch INTO its_name, its_epoch FROM escala.shard FOR SHARE;
  ELSE
    SELECT name, epoch INTO its_name, its_epoch FROM escala.shard;
  END IF;
  IF its_name IS DISTINCT FROM given_name THEN
    RAISE EXCEPTION USING ERRCODE = '{OTHER_SHARD}', DETAIL = coalesce(its_name, ''),
      MESSAGE = pg_catalog.concat('escala: this is the shard ', its_name, ', not ', given_name);
  END IF;
  IF its_epoch <> given_epoch THEN
    RAISE EXCEPTION USING ERRCODE = '{OTHER_EPOCH}', DETAIL = its_epoch::text,
      MESSAGE = pg_catalog.concat('escala: the shard ', its_name, ' has epoch ', its_epoch,
        ' of the map, the router has ', given_epoch);
  END IF;
END $$
"""  # noqa: S608  only constants of this file are put into it

_SCHEMA = (
    f"SELECT pg_catalog.pg_advisory_xact_lock({FENCE_LOCK + 1})",  # IF NOT EXISTS alone races
    "CREATE SCHEMA IF NOT EXISTS escala",
    """CREATE TABLE IF NOT EXISTS escala.shard (
         only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
         name text NOT NULL,
         epoch bigint NOT NULL,
         map text NOT NULL,
         throttle double precision NOT NULL DEFAULT 0,
         throttled_until timestamptz NOT NULL DEFAULT 'infinity'
       )""",
    """CREATE TABLE IF NOT EXISTS escala.decisions (
         gid text PRIMARY KEY,
         outcome text NOT NULL CHECK (outcome IN ('commit', 'abort')),
         participants text NOT NULL DEFAULT '[]',
         at timestamptz NOT NULL DEFAULT clock_timestamp()
       )""",
    """CREATE TABLE IF NOT EXISTS escala.move (
         only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
         state text NOT NULL
       )""",
    _ENTER,
)
_SQLITE_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS escala_shard (
         only_row int PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
         name text NOT NULL, epoch integer NOT NULL, map text NOT NULL
       )""",
)


class Versioned(Protocol):
    """What is kept of a map of shards."""

    @property
    def epoch(self) -> int:
        """Grows with each change of the map."""

    def to_json(self) -> str:
        """All of it."""


class ShardRow(NamedTuple):
    """What a shard says of itself."""

    name: str
    epoch: int
    map: str


def table(connection: Connection) -> str:
    """The table of the one row, as this kind of database calls it."""
    return "escala_shard" if connection.dialect.name == "sqlite" else "escala.shard"


def install(connection: Connection, name: str, shard_map: Versioned) -> None:
    """Make a database the shard of that name, with that map; to do it again changes nothing.

    It is done in the caller's transaction. On PostgreSQL it wants the right to create a schema;
    the roles that use the shard need USAGE on the schema `escala`, and SELECT, INSERT, UPDATE and
    DELETE on its tables. A map that is newer than the installed one takes its place, an older one
    is left alone. Raises `ConfigError` when the database is a shard of another name, or has
    another map of the same epoch.
    """
    for statement in _SQLITE_SCHEMA if connection.dialect.name == "sqlite" else _SCHEMA:
        connection.exec_driver_sql(statement)
    row = {"name": name, "epoch": shard_map.epoch, "map": shard_map.to_json()}
    _run(
        connection,
        "INSERT INTO {table} (name, epoch, map) VALUES (:name, :epoch, :map) "
        "ON CONFLICT (only_row) DO NOTHING",
        row,
    )
    found = read(connection)
    if found.name != name:
        raise ConfigError(
            f"ShardedDatabase: expected the shard {name!r}, found that its database is the shard "
            f"{found.name!r}; is the URL another shard's?"
        )
    if found.epoch == shard_map.epoch and found.map != row["map"]:
        raise ConfigError(
            f"ShardedDatabase: the shard {name!r} has another map of the same epoch "
            f"{found.epoch}; read the map from a shard, or change it from there"
        )
    renew(connection, shard_map)


def renew(connection: Connection, shard_map: Versioned) -> bool:
    """Give a shard a newer map; whether it had an older one."""
    sql = "UPDATE {table} SET epoch = :epoch, map = :map WHERE epoch < :epoch"
    values = {"epoch": shard_map.epoch, "map": shard_map.to_json()}
    return _run(connection, sql, values).rowcount == 1


def read(connection: Connection) -> ShardRow:
    """What the shard says of itself. Raises `ConfigError` when nothing was installed there."""
    place = table(connection)
    rows = connection.exec_driver_sql(f"SELECT name, epoch, map FROM {place}").all()  # noqa: S608  one of two
    if not rows:
        raise ConfigError(f"ShardedDatabase: {place} is empty; run `install()`")
    return ShardRow._make(rows[0])


def _run(connection: Connection, sql: str, values: dict[str, Any]) -> CursorResult[Any]:
    from sqlalchemy import BigInteger, bindparam, text

    statement = text(sql.format(table=table(connection)))
    if "epoch" in values:  # by itself a number would be sent as one of 32 bits
        statement = statement.bindparams(bindparam("epoch", type_=BigInteger))
    return connection.execute(statement, values)

"""A node as a failover sees it: asked, cut off, promoted, and made to follow another."""

from __future__ import annotations

from typing import Any, NamedTuple

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from escala.databases.pure.durability import SyncSettings
from escala.errors import StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.stores.postgres_link import PostgresLink

# A standby that streams nothing knows the timeline it has WAL of only by the names of the files.
_LOOK = """
SELECT (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery()::int,
  CASE WHEN pg_is_in_recovery() THEN greatest(
    (SELECT received_tli FROM pg_stat_wal_receiver),
    (SELECT timeline_id FROM pg_control_checkpoint()),
    (SELECT max(('x' || substr(name, 1, 8))::bit(32)::int) FROM pg_ls_waldir()
      WHERE name ~ '^[0-9A-F]{24}$'))
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN
    greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    ELSE pg_current_wal_flush_lsn() END, '0/0')::bigint,
  (SELECT count(*) FROM pg_stat_wal_receiver),
  current_setting('primary_conninfo'), current_setting('cluster_name'),
  current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
  current_setting('default_transaction_read_only')
"""
# Whoever came after the settings were read refuses writes already.
_END = """
SELECT current_setting('default_transaction_read_only'), count(pg_terminate_backend(pid))
FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND backend_start <= pg_conf_load_time()
"""
_TURN = 7308324466  # the advisory lock of a failover
_CUT = " host=127.0.0.1 hostaddr=127.0.0.1 port=1"  # of two values of a name the last one holds
_READ_ONLY = "default_transaction_read_only"


class Look(NamedTuple):
    """What a node says of itself."""

    system_id: int
    in_recovery: bool
    timeline: int
    position: int
    """Bytes of WAL on its disk."""
    receiving: bool
    conninfo: str
    """Where a standby streams from, without what cuts it off."""
    is_cut: bool
    """Cut off by a failover, which may have been killed since."""
    settings: SyncSettings
    read_only: bool

    @property
    def name(self) -> str:
        """What a primary calls this standby in `synchronous_standby_names`."""
        said = conninfo_to_dict(self.conninfo)
        return str(said.get("application_name") or self.settings.own or "walreceiver")


class FailoverNode:
    """One connection to a node, on which it also holds its turn; `host` and `port` are its own."""

    def __init__(self, name: str, conninfo: str, *, patience: float) -> None:
        said = conninfo_to_dict(conninfo)
        self.name, self.host, self.port = name, str(said["host"]), str(said["port"])
        self._link = PostgresLink(conninfo, "", keep=1, patience=patience)

    async def look(self, runtime: Runtime) -> Look:
        """Ask it. Raises `StoreUnavailable`, also where the role may not see what it needs to."""
        rows = await self._link.ask(_LOOK, (), runtime)
        texts = [(each or b"").decode() for each in rows[0]]
        system_id, recovery, timeline, position, receiving, conninfo, own, names, commit, ro = texts
        return Look(
            int(system_id),
            recovery == "1",
            int(timeline),
            int(position or 0),
            receiving != "0",
            conninfo.removesuffix(_CUT),
            conninfo.endswith(_CUT),
            SyncSettings(names, commit, own),
            ro == "on",
        )

    async def take_turn(self, runtime: Runtime) -> bool:
        """False while another failover is under way; held until `close`."""
        rows = await self._link.ask(f"SELECT pg_try_advisory_lock({_TURN})::int", (), runtime)
        return rows == [[b"1"]]

    async def cut(self, look: Look, runtime: Runtime) -> None:
        """Have it receive nothing any more, so that no commit is acknowledged with its help."""
        await self._receive(_plain(look.conninfo) + _CUT, runtime)

    async def restore(self, look: Look, runtime: Runtime) -> None:
        """Have it receive again from where it did before."""
        await self._receive(_plain(look.conninfo), runtime)

    async def follow(self, look: Look, source: FailoverNode, runtime: Runtime) -> None:
        """Have it receive from another node, as whom and how it did before."""
        said: dict[str, Any] = conninfo_to_dict(look.conninfo)
        said.pop("hostaddr", None)
        said.update(host=source.host, port=source.port)
        await self._receive(make_conninfo(**said), runtime)

    async def promote(self, runtime: Runtime) -> None:
        """Begin to make it a primary."""
        await self._link.ask("SELECT pg_promote(false)", (), runtime)

    async def fence(self, runtime: Runtime) -> None:
        """Have it refuse writes of transactions that begin from now on."""
        await self._set(_READ_ONLY, "on", runtime)

    async def emptied(self, runtime: Runtime) -> bool:
        """End the transactions that began before `fence`; true when none is left."""
        rows = await self._link.ask(_END, (), runtime)
        return rows == [[b"on", b"0"]]

    async def unfence(self, runtime: Runtime) -> None:
        """Have it take writes again."""
        await self._link.ask(f"ALTER SYSTEM RESET {_READ_ONLY}", (), runtime)
        await self._reload(runtime)

    def close(self) -> None:
        """Close the connection, which ends its turn."""
        self._link.close()

    async def _receive(self, conninfo: str, runtime: Runtime) -> None:
        await self._set("primary_conninfo", conninfo, runtime)

    async def _set(self, name: str, value: str, runtime: Runtime) -> None:
        literal = value.replace("'", "''")
        await self._link.ask(f"ALTER SYSTEM SET {name} = '{literal}'", (), runtime)
        await self._reload(runtime)

    async def _reload(self, runtime: Runtime) -> None:
        if await self._link.ask("SELECT pg_reload_conf()::int", (), runtime) != [[b"1"]]:
            raise StoreUnavailable(f"{self.name} did not reload its settings")


def _plain(conninfo: str) -> str:
    """The same as keywords and values, for it may be a URL."""
    said: dict[str, Any] = conninfo_to_dict(conninfo)
    return make_conninfo(**said)

"""No transaction ends on a primary that is none any more, or on the server of someone else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError

from escala.databases.pure.identity import Identity, check
from escala.databases.replicas.session_internals import commits_itself
from escala.errors import Fenced

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.pool import ConnectionPoolEntry

    from escala.databases.replicas.cluster import Cluster

_GENERATION = "escala.generation"
_WHO = """
SELECT (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END
"""


def fence(engine: Engine, cluster: Cluster, node: int, *, writes: bool) -> None:
    """Let this engine of a node only use connections to what the cluster takes the node for.

    Each new connection says once what it leads to: another cluster, a standby where a primary is
    wanted, or a timeline that is not the newest any more is closed, and `Fenced` or `NoPrimary` is
    raised. When another primary is known, connections to the old one are not used again, and a
    transaction under way there fails with `Fenced` instead of being committed. In AUTOCOMMIT that
    is the next statement.
    """
    name = cluster.view.nodes[node].name

    def connected(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401  any driver's
        view = cluster.view
        try:
            found = who(connection)
            check(found, name, view, writes=writes)
        except BaseException:
            engine.dialect.do_terminate(connection)  # the pool does not close what it never had
            cluster.suspect(node)
            raise
        if found.timeline > view.timeline:
            cluster.suspect(node)
        record.info[_GENERATION] = view.generation

    event.listen(engine, "connect", connected)
    if writes:
        _leave_old_primaries(engine, cluster, name)


def _leave_old_primaries(engine: Engine, cluster: Cluster, name: str) -> None:
    def checked_out(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info.get(_GENERATION) != cluster.view.generation:
            raise DisconnectionError("the database has another primary now")

    def is_old(connection: Connection) -> bool:
        return connection.info.get(_GENERATION) != cluster.view.generation

    def committing(connection: Connection) -> None:
        if is_old(connection):
            raise Fenced(
                f"{name} is not the primary any more that it was when this transaction began: "
                "nothing was committed, begin it again"
            )

    def executing(connection: Connection, *_: object) -> None:
        if is_old(connection) and commits_itself(connection):
            committing(connection)

    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "commit", committing)
    event.listen(engine, "before_cursor_execute", executing)


def who(connection: Any) -> Identity:  # noqa: ANN401
    """Ask a driver's own connection what it leads to."""
    cursor = connection.cursor()
    try:
        cursor.execute(_WHO)
        system_id, in_recovery, timeline = cursor.fetchone()
    finally:
        cursor.close()
    connection.rollback()
    return Identity(int(system_id), bool(in_recovery), int(timeline))

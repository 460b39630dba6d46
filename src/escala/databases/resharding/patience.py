"""Statements that need a lock others may hold for long, without making others wait for long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from escala.databases.resharding.node import Node
from escala.databases.resharding.waiting import now, pause, wait_until
from escala.errors import CannotReshard

PATIENCE = 60.0  # seconds, for what may wait for the transactions of others
_AT_ONCE, _BETWEEN = "50ms", 0.25


def patiently(node: Node, sql: str, values: Sequence[object] | Mapping[str, object] = ()) -> None:
    """Run a statement; its lock is waited for in short spells, since others queue behind it."""
    import psycopg

    until = now() + PATIENCE
    node.rows(f"SET lock_timeout = '{_AT_ONCE}'")
    try:
        while True:
            try:
                node.rows(sql, values)
            except psycopg.errors.LockNotAvailable as error:
                if now() >= until:
                    raise CannotReshard(
                        f"{node.name}: others hold locks that are needed for `{sql[:60]}`; "
                        "see pg_locks, and run again"
                    ) from error
                pause(_BETWEEN)
            else:
                return
    finally:
        if not node.connection.broken:
            node.rows("RESET lock_timeout")


_RUNNING = """
SELECT pid, xact_start::text FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
"""


def wait_for_old_transactions(node: Node) -> None:
    """Wait for those that run now: they may have begun before the map changed, and read by it."""
    old = set(node.rows(_RUNNING))
    wait_until(
        lambda: not old.intersection(node.rows(_RUNNING)),
        now() + PATIENCE,
        f"transactions on {node.name} that began before the map changed (see pg_stat_activity)",
    )

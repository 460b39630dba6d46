"""Rows that a shard no longer owns, or never did, taken away in small transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from escala.databases.resharding.node import Node
from escala.databases.resharding.selection import Selection

_BLOCKS = 512  # of 8 KiB: some ten thousand rows in a transaction


def delete_rows(node: Node, selections: Sequence[Selection], tell: Callable[[str], None]) -> int:
    """Delete what is selected, some blocks of the table at a time; how many rows there were.

    Neither triggers nor foreign keys see it: these rows live on at another shard, so nothing was
    deleted as far as an application is concerned.
    """
    deleted = 0
    node.rows("SET session_replication_role = replica")
    try:
        for selection in selections:
            table, rows = selection.table.sql, selection.rows
            size = node.value("SELECT pg_relation_size(%s::regclass) / 8192", (table,))
            for first in range(0, int(size), _BLOCKS):
                deleted += node.count(
                    f"DELETE FROM {table} WHERE ctid >= '({first},0)' "  # noqa: S608
                    f"AND ctid < '({first + _BLOCKS},0)' AND ({rows})",
                )
                tell(f"deleting, {deleted:,} rows so far")
            deleted += node.count(f"DELETE FROM {table} WHERE ({rows})")  # noqa: S608
    finally:
        if not node.connection.broken:
            node.rows("RESET session_replication_role")
    return deleted

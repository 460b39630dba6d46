"""What the log of a shard says about a row that is updated or deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from escala.databases.resharding.job import Job
from escala.databases.resharding.moved_table import MovedTable
from escala.databases.resharding.node import Node
from escala.databases.resharding.patience import patiently

FULL = "FULL"


def identify(job: Job, nodes: Mapping[str, Node], node: Node, tables: Sequence[MovedTable]) -> None:
    """See that it says the row's shard key, so that changes can be filtered by it.

    What a table had before is written down first.
    """
    known = job.identities.setdefault(node.name, {})
    wrong = [table for table in tables if not _says_key(table, job.tables[table.sql])]
    known.update({table.sql: table.identity for table in wrong if table.sql not in known})
    job.save(nodes)
    for table in wrong:
        patiently(node, f"ALTER TABLE {table.sql} REPLICA IDENTITY {FULL}")


def restore(job: Job, nodes: Mapping[str, Node]) -> None:
    """Give each table what it had."""
    for name, identities in job.identities.items():
        for table, identity in identities.items():
            patiently(nodes[name], f"ALTER TABLE {table} REPLICA IDENTITY {identity}")


def _says_key(table: MovedTable, key: str) -> bool:
    return table.identity == FULL or (table.identity == "DEFAULT" and key in table.primary_key)

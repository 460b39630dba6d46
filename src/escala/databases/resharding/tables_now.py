"""Whether tables are still what they were, told without reading their rows."""

from __future__ import annotations

from collections.abc import Sequence

from escala.databases.resharding.moved_table import MovedTable
from escala.databases.resharding.node import Node

# TRUNCATE, and whatever rewrites a table, gives it another file.
_TABLE = """
SELECT c.oid::text || ' ' || pg_relation_filenode(c.oid) || ' ' || (
    SELECT string_agg(a.attnum || ':' || a.atttypid || ':' || a.atttypmod, ' ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c WHERE c.oid = to_regclass(%s)
"""


def tables_now(node: Node, tables: Sequence[MovedTable]) -> str:
    """A text that is another one after any of the tables was truncated, rewritten or altered."""
    return "\n".join(str(node.value(_TABLE, (table.sql,))) for table in tables)

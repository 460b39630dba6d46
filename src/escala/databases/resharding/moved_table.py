"""A table with rows that move: what the catalog of a shard says about it."""

from __future__ import annotations

from typing import NamedTuple

from escala.databases.resharding.node import Node, identifier
from escala.errors import CannotReshard

_CATALOG = """
SELECT n.nspname, c.relname, c.relkind, c.relpersistence,
  CASE c.relreplident WHEN 'i' THEN 'USING INDEX ' || (
      SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
      WHERE x.indrelid = c.oid AND x.indisreplident)
    WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE 'DEFAULT' END,
  ARRAY(SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname),
  ARRAY(SELECT format_type(a.atttypid, a.atttypmod)
      || CASE WHEN a.attgenerated <> '' THEN ' generated' ELSE '' END
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname),
  ARRAY(SELECT a.attname::text FROM pg_index x
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(x.indkey)
    WHERE x.indrelid = c.oid AND x.indisprimary ORDER BY a.attname),
  ARRAY(SELECT a.attname::text FROM pg_index x
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(x.indkey)
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE x.indrelid = c.oid AND x.indisprimary
      AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%%')),
  ARRAY(SELECT t.tgname::text FROM pg_trigger t
    WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') ORDER BY 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""


class MovedTable(NamedTuple):
    """Its names, and everything that has to be the same on both shards."""

    schema: str
    name: str
    kind: str
    persistence: str
    identity: str  # as ALTER TABLE ... REPLICA IDENTITY takes it
    columns: tuple[str, ...]
    types: tuple[str, ...]
    primary_key: tuple[str, ...]
    from_sequences: tuple[str, ...]  # of the primary key
    triggers: tuple[str, ...]  # that fire for rows which a stream brings, too

    @property
    def sql(self) -> str:
        """The table's name in SQL."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @property
    def shape(self) -> dict[str, str]:
        """The type of each column."""
        return dict(zip(self.columns, self.types, strict=True))

    @property
    def row_hash(self) -> str:
        """SQL for 64 bits that say what is in a row, whatever the order of its columns."""
        values = ", ".join(identifier(column) for column in self.columns)
        return f"hashtextextended(ROW({values})::text, 0)"


def table_of(node: Node, name: str) -> MovedTable | None:
    """What a shard's catalog says about a table; None without such a table."""
    rows = node.rows(_CATALOG, (name,))
    if not rows:
        return None
    schema, table, kind, persistence, identity, *lists = rows[0]
    return MovedTable(schema, table, kind, persistence, identity, *(tuple(each) for each in lists))


def existing_table(node: Node, name: str) -> MovedTable:
    """What a shard's catalog says about a table. Raises `CannotReshard` without it."""
    table = table_of(node, name)
    if table is None:
        raise CannotReshard(f"{node.name} has no table {name}")
    return table

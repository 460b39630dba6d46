"""The rows of one table that move, as SQL on either shard."""

from __future__ import annotations

from typing import NamedTuple

from escala.databases.resharding.moved_table import MovedTable


class Selection(NamedTuple):
    """A table, the condition of its rows that move, and the number that sorts them into heaps.

    A heap is what is compared at once: neighbouring slots, by the number of the first one.
    """

    table: MovedTable
    rows: str
    heap: str

    @property
    def digest(self) -> str:
        """SQL for how many rows there are in each heap, and the sum of what is in them."""
        return (
            f"SELECT {self.heap}, count(*), sum({self.table.row_hash}) "  # noqa: S608
            f"FROM {self.table.sql} WHERE {self.rows} GROUP BY 1"
        )

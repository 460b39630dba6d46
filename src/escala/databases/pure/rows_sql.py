"""Conditions on a shard key as SQL for PostgreSQL, without parameters: a filter takes none."""

from __future__ import annotations

from collections.abc import Iterable

from escala.databases.pure.key_value import KeyValue
from escala.databases.pure.slot_runs import Runs


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def in_slots(slot: str, runs: Runs) -> str:
    """Whether an expression for a slot gives one of these."""
    return "(" + " OR ".join(f"{slot} BETWEEN {first} AND {last}" for first, last in runs) + ")"


def is_key(column: str, keys: Iterable[KeyValue]) -> str:
    """Whether a column has one of these keys: text, whole numbers or UUIDs."""
    return f"({quoted(column)} IN ({', '.join(map(literal, keys))}))"


def literal(key: KeyValue) -> str:
    """A key, or a name, as a constant in a statement."""
    if isinstance(key, int):
        return f"'{key}'"  # of the column's own type, whichever that is
    return "'" + str(key).replace("'", "''") + "'"

"""Whether a statement only reads, so that a replica can answer it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sqlalchemy.sql.selectable import CompoundSelect, Select

from escala.databases.replicas.reading_functions import READING
from escala.databases.replicas.session_internals import cache_key, computed, said_in_options

_LEAVES = frozenset({"table", "bindparam", "null", "true", "false", "typeclause", "collation"})
_KINDS = """
aggregateorderby aggregate_order_by alias array binary case cast clauselist compound_select
cte expression_clauselist extract frame_clause funcfilter function grouping join label
label_reference lateral memoized_select_entities order_by_list over postgresql_distinct_on
scalar_function_column select select_statement_grouping slice subquery table_valued_alias
table_valued_column textual_label_reference tuple type_coerce unary withingroup
"""
_BRANCHES = frozenset(_KINDS.split())
_PLAIN = re.compile(r"\*|[\w.]+")
_SIGNS = re.compile(r"[-+*/<>=~!@#%^&|`?]+")
_QUERIES = frozenset({"select", "compound_select", "cte"})
_ADDED = ("_prefixes", "_suffixes", "_hints", "_statement_hints")


_MOST_KEPT = 2_000


class StatementKinds:
    """Tells whether a statement only reads, and keeps the answer for those that are alike.

    Statements that differ in their parameters only are alike, by the key under which SQLAlchemy
    keeps what it compiled: it is needed to execute a statement anyway.
    """

    __slots__ = ("_functions", "_kept")

    def __init__(self, functions: Collection[str] = READING) -> None:
        self._functions = functions
        self._kept: dict[object, bool] = {}

    def only_reads(self, statement: object) -> bool:
        """Whether a replica may answer it."""
        key = cache_key(statement)
        if key is None:
            return only_reads(statement, self._functions)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[key] = only_reads(statement, self._functions)
        return kept


def only_reads(statement: object, functions: Collection[str] = READING) -> bool:
    """Whether a statement is a plain query, all the way down: on doubt it is not.

    Text, `FOR UPDATE`, INSERT, UPDATE and DELETE in a CTE, prefixes, operators in words of one's
    own, and functions that are not among `functions` are no plain query.
    """
    if not isinstance(statement, (Select, CompoundSelect)):
        return False
    waiting: list[Any] = [statement]
    while waiting:
        element = waiting.pop()
        kind = element.__visit_name__
        if _is_text(element):
            return False
        if kind == "column":
            continue
        waiting.extend(computed(element))
        if kind in _LEAVES:
            continue
        if kind not in _BRANCHES or not _harmless(element, kind, functions):
            return False
        waiting.extend(element.get_children())
        if kind == "select":
            waiting.extend(said_in_options(element))
    return True


def _is_text(element: Any) -> bool:  # noqa: ANN401
    """Whether it is text by another name."""
    written = getattr(getattr(element, "operator", None), "opstring", None)
    if written is not None and not _SIGNS.fullmatch(written):
        return True
    name = getattr(element, "name", None)
    raw = getattr(element, "is_literal", False) or getattr(name, "quote", None) is False
    return raw and not _PLAIN.fullmatch(str(name))


def _harmless(element: Any, kind: str, functions: Collection[str]) -> bool:  # noqa: ANN401
    if kind == "function":
        packages = element.packagenames
        ours = not packages or packages == ("pg_catalog",)
        return ours and element.name.lower() in functions
    if kind in _QUERIES:
        if getattr(element, "_for_update_arg", None) is not None:
            return False
        return not any(getattr(element, added, None) for added in _ADDED)
    return True

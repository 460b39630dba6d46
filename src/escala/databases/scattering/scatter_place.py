"""Whether each shard can answer a statement by itself: its joins, its subqueries, its changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.sql import operators
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.elements import (
    BinaryExpression,
    ClauseElement,
    ColumnClause,
    Grouping,
    TextClause,
)
from sqlalchemy.sql.selectable import (
    FromClause,
    Join,
    ScalarSelect,
    Select,
    SelectBase,
    SelectStatementGrouping,
    TableClause,
)

from escala.databases.scattering.scatter_select import (
    change_clauses,
    changed_columns,
    final_froms,
    loaded_besides,
    whole,
)
from escala.databases.scattering.scatter_tables import (
    Placement,
    Source,
    Tables,
    is_source,
    table_of,
    walk,
)
from escala.errors import CannotMerge

_AROUND: Source = "around"  # stands for the sharded tables of the queries around one


def place(statement: Select[Any], tables: Tables) -> Placement:
    """Find out where the rows of a statement lie, its subqueries included.

    Raises `CannotMerge` where rows of several shards would have to meet.
    """
    placement = Placement(tables)
    for source in final_froms(statement):
        _add(placement, source)
    for left, right in placement.links(statement.whereclause):
        placement.join(left, right)
    _one_leader(placement, "WHERE")
    _subqueries(placement, statement)
    for clause in loaded_besides(statement):
        _subqueries_of(placement, clause)
    return placement


def place_change(statement: Update | Delete, tables: Tables) -> None:
    """Find out whether each shard may make a change by itself; `CannotMerge` if not."""
    target: Any = statement.table
    placement = Placement(tables)
    _add(placement, target)
    if not placement.sharded:
        raise CannotMerge(
            f"{target.name!r} is a reference table, which has the same rows on every shard: change "
            "it without scatter()"
        )
    changed = changed_columns(statement)
    for column in tables.key(target):
        if column in changed:
            raise CannotMerge(
                f"{column!r} is the shard key, which an update does not change: delete the row and "
                "insert it"
            )
    for clause in change_clauses(statement):
        for part in walk(clause):
            if isinstance(part, ColumnClause) and part.table not in {None, target}:
                raise CannotMerge(
                    "a change that looks at other tables: say so by a subquery on the shard key"
                )
        _subqueries_of(placement, clause)


def _add(placement: Placement, source: FromClause) -> list[Source]:
    """Add what stands in FROM; give the sharded sources in it."""
    placement.sources.append(source)
    if isinstance(source, Join):
        return _add_join(placement, source)
    table = table_of(source)
    if not isinstance(table, TableClause):
        _only_reference(placement.tables, source)
        return []
    if not placement.tables.key(source):
        return []
    placement.leaders[source] = source
    return [source]


def _add_join(placement: Placement, join: Join) -> list[Source]:
    left, right = _add(placement, join.left), _add(placement, join.right)
    links = placement.links(join.onclause)
    if join.full:
        placement.nullable.update(left, right)
        if left or right:
            _full(placement, left, right, links)
    elif join.isouter:
        if right and not left:
            raise CannotMerge(
                "a reference table stands on the left of an outer join with a sharded one: each "
                "shard would report the rows without a partner; turn the join round, or ask for "
                "both apart"
            )
        placement.nullable.update(right)
        _outer(placement, right, links)
    else:
        for one, other in links:
            placement.join(one, other)
    return left + right


def _outer(
    placement: Placement, right: Sequence[Source], links: Sequence[tuple[Source, Source]]
) -> None:
    # The condition says nothing of rows without a partner, so it never puts two of the left
    # together: each of the right follows one of the left.
    inside = set(right)
    for one, other in links:
        if one in inside and other in inside:
            placement.join(one, other)
    for one, other in links:
        if one in inside and other not in inside:
            kept, moved = other, one
        else:
            kept, moved = one, other
        if moved in inside and kept not in inside and placement.leader(moved) in inside:
            placement.join(kept, moved)


def _full(
    placement: Placement,
    left: Sequence[Source],
    right: Sequence[Source],
    links: Sequence[tuple[Source, Source]],
) -> None:
    leaders = [{placement.leader(each) for each in side} for side in (left, right)]
    linked = any((one in left) is not (other in left) for one, other in links)
    if len(leaders[0]) != 1 or len(leaders[1]) != 1 or not linked:
        raise CannotMerge(
            "a full outer join needs two sharded tables that are joined on the shard key"
        )
    placement.join(left[0], right[0])


def _one_leader(placement: Placement, where: str) -> None:
    leaders = {placement.leader(source) for source in placement.leaders}
    if len(leaders) > 1:
        names = " and ".join(sorted(_named(each, placement.tables) for each in leaders))
        raise CannotMerge(
            f"{names} are not joined on the shard key, so rows of several shards would have to "
            f"meet: add the equality of the keys to the join or to {where}"
        )


def _named(source: Source, tables: Tables) -> str:
    if source is _AROUND:
        return "the query around it"
    return " and ".join(f"{table_of(source).name}.{column}" for column in tables.key(source))


def _readable(clause: ClauseElement) -> None:
    for part in walk(clause):
        if isinstance(part, TextClause) or (
            isinstance(part, ColumnClause) and part.is_literal and not _harmless(part.name)
        ):
            raise CannotMerge("text() and literal_column() cannot be read: write it with columns")


def _harmless(text: str) -> bool:
    return text == "*" or text.isdigit()


def _subqueries(placement: Placement, statement: Select[Any]) -> None:
    for clause in _clauses(placement, statement):
        _subqueries_of(placement, clause)


def _subqueries_of(placement: Placement, clause: ClauseElement) -> None:
    _readable(clause)
    for part in walk(clause):
        if isinstance(part, SelectBase):
            _subquery(placement, part, by_key=_compares_keys(placement, clause, part))


def _clauses(placement: Placement, statement: Select[Any]) -> Iterator[ClauseElement]:
    """Yield each expression of a statement, those of its joins too."""
    for child in statement.get_children():
        if not is_source(child):
            yield child
    for source in placement.sources:
        if isinstance(source, Join) and source.onclause is not None:
            yield source.onclause


def _leaves(source: FromClause) -> Iterator[FromClause]:
    if isinstance(source, Join):
        yield from _leaves(source.left)
        yield from _leaves(source.right)
    else:
        yield source


def _compares_keys(placement: Placement, clause: ClauseElement, query: SelectBase) -> bool:
    """Whether the shard key is compared by IN with what the subquery selects."""
    return any(
        isinstance(part, BinaryExpression)
        and part.operator in {operators.in_op, operators.not_in_op}
        and _bare(part.right) is _bare(query)
        and bool(placement.key_of([part.left]))
        for part in walk(clause)
    )


def _bare(element: Any) -> Any:  # noqa: ANN401  SQLAlchemy's groupings have no common type
    while isinstance(element, (Grouping, ScalarSelect, SelectStatementGrouping)):
        element = element.element
    return element


def _subquery(outer: Placement, query: SelectBase, *, by_key: bool) -> None:
    query = _bare(query)
    if not isinstance(query, Select):
        _only_reference(outer.tables, query)
        return
    around = (*outer.around, *outer.sources)
    froms = final_froms(query, around, outer.sources)
    # A table of its own hides one of the same name around it; what is left of those has one key.
    hidden = {leaf for source in froms for leaf in _leaves(source)}
    seen = [source for source in outer.leaders if source not in hidden]
    leaders = dict.fromkeys([*seen, _AROUND], _AROUND) if outer.leaders else {}
    inner = Placement(outer.tables, leaders, outer.nullable.difference(hidden), around=around)
    own: list[Source] = []
    for source in froms:
        own += _add(inner, source)
    _outer(inner, own, inner.links(query.whereclause))
    if by_key and whole(query):
        for other in inner.key_of(query.selected_columns).intersection(own):
            inner.join(_AROUND, other)
    if own and not outer.leaders:
        raise CannotMerge(
            "a subquery over a sharded table in a statement over reference tables: each shard "
            "would answer for its own rows only; ask for both apart"
        )
    _one_leader(inner, "the subquery's WHERE")
    _subqueries(inner, query)


def _only_reference(tables: Tables, element: ClauseElement) -> None:
    """Let through what reads nothing but reference tables, or nothing at all."""
    for part in _everything(element):
        if isinstance(part, TextClause) or part.__visit_name__ == "table_valued_alias":
            raise CannotMerge("text() or a function in FROM cannot be read: use tables")
        if isinstance(part, TableClause) and tables.key(part):
            raise CannotMerge(
                f"a subquery in FROM, WITH or UNION reads the sharded table {part.name!r}: each "
                "shard would see its own rows only; ask for it apart"
            )


def _everything(element: ClauseElement) -> Iterator[ClauseElement]:
    yield element
    if isinstance(element, Select):
        for source in final_froms(element):
            yield from _everything(source)
    if not isinstance(element, TableClause):
        for child in element.get_children():
            yield from _everything(child)

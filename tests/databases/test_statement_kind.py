from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Sequence,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    delete,
    exists,
    extract,
    func,
    insert,
    lateral,
    literal,
    literal_column,
    not_,
    null,
    or_,
    quoted_name,
    select,
    table,
    text,
    tuple_,
    union_all,
    update,
    values,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    column_property,
    joinedload,
    mapped_column,
    query_expression,
    relationship,
    selectinload,
    with_expression,
    with_loader_criteria,
)
from sqlalchemy.schema import ForeignKey
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.functions import GenericFunction

from escala.databases.replicas.reading_functions import READING
from escala.databases.replicas.statement_kind import StatementKinds, only_reads

T = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[list[Note]] = relationship()


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    user: Mapped[int] = mapped_column(ForeignKey("users.id"))


class Shouted(Base):
    __tablename__ = "shouted"
    id: Mapped[int] = mapped_column(primary_key=True)
    loud: Mapped[str] = column_property(func.upper("a"))
    more: Mapped[int] = query_expression()


class Numbered(Base):
    __tablename__ = "numbered"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = column_property(func.nextval("numbers"))


class Own(ColumnElement[int]):
    inherit_cache = True


@compiles(Own)
def _own(*_: Any) -> str:
    return "nextval('numbers')"


class nextval(GenericFunction[int]):  # noqa: N801  functions are named as SQL has them
    inherit_cache = True


def written() -> Any:
    return insert(T).values(id=1).returning(T.c.id).cte("written")


READS: dict[str, Callable[[], Any]] = {
    "table": lambda: select(T),
    "entity": lambda: select(User),
    "column": lambda: select(User.name),
    "where": lambda: select(User).where(User.id == 5, User.name.like("a%")),
    "get": lambda: select(User).where(User.id == bindparam("id")),
    "in": lambda: select(T).where(T.c.id.in_([1, 2])),
    "in_subquery": lambda: select(T).where(T.c.id.in_(select(Note.user))),
    "logic": lambda: select(T).where(or_(not_(T.c.id == 1), and_(T.c.id > 1, T.c.name.is_(None)))),
    "tuple": lambda: select(T).where(tuple_(T.c.id, T.c.name) == (1, "a")),
    "order": lambda: select(T).order_by(T.c.id.desc().nulls_last()).limit(5).offset(5),
    "group": lambda: select(T.c.name, func.count()).group_by(T.c.name).having(func.count() > 1),
    "distinct": lambda: select(T.c.name).distinct(),
    "label": lambda: select((T.c.id + 1).label("next")).order_by("next"),
    "count": lambda: select(func.count()).select_from(User),
    "functions": lambda: select(func.lower(T.c.name), func.coalesce(func.max(T.c.id), 0)),
    "shouted": lambda: select(func.LOWER(T.c.name)),
    "catalogue": lambda: select(func.pg_catalog.lower(T.c.name)),
    "now": lambda: select(func.now()),
    "window": lambda: select(func.row_number().over(partition_by=T.c.name, order_by=T.c.id)),
    "frame": lambda: select(func.sum(T.c.id).over(order_by=T.c.id, rows=(-1, 1))),
    "filter": lambda: select(func.count().filter(T.c.id > 1)),
    "within": lambda: select(func.percentile_cont(0.5).within_group(T.c.id)),
    "ordered": lambda: select(
        func.array_agg(postgresql.aggregate_order_by(T.c.id, T.c.name.desc()))
    ),
    "case": lambda: select(case((T.c.id > 1, "many"), else_="one")),
    "cast": lambda: select(cast(T.c.id, Text), literal(1), null()),
    "extract": lambda: select(extract("year", func.now())),
    "collate": lambda: select(T).order_by(T.c.name.collate("C")),
    "star": lambda: select(literal_column("*")).select_from(T),
    "one": lambda: select(literal_column("1")),
    "join": lambda: select(User, Note).join(Note, User.id == Note.user),
    "join_relationship": lambda: select(User).join(User.notes),
    "outer_join": lambda: select(T).select_from(T.outerjoin(Note.__table__, T.c.id == Note.user)),
    "aliased": lambda: select(aliased(User, name="other")),
    "loads": lambda: select(User).options(selectinload(User.notes), joinedload(User.notes)),
    "subquery": lambda: select(select(T.c.id).subquery()),
    "scalar": lambda: select(select(func.max(T.c.id)).scalar_subquery()),
    "exists": lambda: select(exists().where(T.c.id == 1)),
    "any": lambda: select(User).where(User.notes.any(Note.id == 1)),
    "cte": lambda: select(select(T).where(T.c.id > 1).cte("some")),
    "recursive": lambda: select(_tree()),
    "lateral": lambda: select(User, lateral(select(Note.id).where(Note.user == User.id))),
    "union": lambda: union_all(select(T), select(T).where(T.c.id > 1)).order_by("id"),
    "series": lambda: select(func.generate_series(1, 3).table_valued("value")),
    "column_valued": lambda: select(func.unnest(T.c.name).column_valued("x")),
    "distinct_on": lambda: select(T).ext(postgresql.distinct_on(T.c.name)),
    "array": lambda: select(postgresql.array([T.c.id, 2])),
    "narrowed": lambda: select(User).join(User.notes).with_only_columns(User.id),
    "operator": lambda: select(T).where(T.c.id.op("@>")(1)),
    "criteria": lambda: select(User).options(with_loader_criteria(User, User.name != "x")),
    "criteria_lambda": lambda: select(User).options(
        with_loader_criteria(User, lambda user: user.name != "x")
    ),
    "computed": lambda: select(Shouted),
    "unquoted": lambda: select(column(quoted_name("id", quote=False))),
}

WRITES: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "string": lambda: "SELECT 1",
    "text": lambda: text("SELECT 1"),
    "text_columns": lambda: text("SELECT id FROM t").columns(T.c.id),
    "text_entity": lambda: select(User).from_statement(text("SELECT * FROM users")),
    "insert": lambda: insert(T).values(id=1),
    "update": lambda: update(User).values(name="x"),
    "delete": lambda: delete(T),
    "returning": lambda: insert(T).values(id=1).returning(T.c.id),
    "for_update": lambda: select(T).with_for_update(),
    "for_share": lambda: select(User).with_for_update(read=True),
    "for_update_below": lambda: select(select(T).with_for_update().subquery()),
    "for_update_union": lambda: union_all(select(T), select(T).with_for_update()),
    "cte_insert": lambda: select(written().c.id),
    "cte_added": lambda: select(T).add_cte(written()),
    "cte_below": lambda: select(select(written().c.id).subquery()),
    "cte_in_where": lambda: select(T).where(T.c.id.in_(select(written().c.id))),
    "function": lambda: select(func.pg_advisory_lock(1)),
    "function_in_where": lambda: select(T).where(T.c.id == func.setval("numbers", 1)),
    "function_in_order": lambda: select(T).order_by(func.random()),
    "function_in_join": lambda: select(User).join(Note, Note.id == func.f(User.id)),
    "function_in_from": lambda: select(func.my_rows().table_valued("id")),
    "function_in_over": lambda: select(func.count().over(order_by=func.random())),
    "function_of_a_schema": lambda: select(func.mine.lower(T.c.name)),
    "function_class": lambda: select(nextval("numbers")),
    "sequence": lambda: select(Sequence("numbers").next_value()),
    "text_in_where": lambda: select(T).where(text("id = nextval('numbers')")),
    "text_in_from": lambda: select(T).select_from(text("my_rows()")),
    "literal_column": lambda: select(literal_column("nextval('numbers')")),
    "prefix": lambda: select(T).prefix_with(text("/* x */")),
    "suffix": lambda: select(T).suffix_with(text("FOR UPDATE")),
    "hint": lambda: select(T).with_hint(T, "x"),
    "statement_hint": lambda: select(T).with_statement_hint("FOR UPDATE"),
    "own_element": lambda: select(Own()),
    "values": lambda: select(values(T.c.id, name="v").data([(1,)])),
    "sample": lambda: select(T.tablesample(func.system(1))),
    "narrowed_function": lambda: (
        select(User).join(Note, Note.id == func.f(User.id)).with_only_columns(User.id)
    ),
    "operator_text": lambda: select(T).where(T.c.id.op("= nextval('numbers') +")(1)),
    "criteria_function": lambda: select(User).options(
        with_loader_criteria(User, func.f(User.id) == 1)
    ),
    "criteria_of_a_load": lambda: select(User).options(
        selectinload(User.notes.and_(func.f(Note.id) == 1))
    ),
    "criteria_below": lambda: select(
        select(User).options(with_loader_criteria(User, text("f()"))).subquery()
    ),
    "expression": lambda: select(Shouted).options(with_expression(Shouted.more, func.f())),
    "computed_function": lambda: select(Numbered),
    "computed_aliased": lambda: select(aliased(Numbered)),
    "unquoted_text": lambda: select(column(quoted_name("nextval('numbers')", quote=False))),
    "unquoted_table": lambda: select(table(quoted_name("my_rows()", quote=False))),
}


def _tree() -> Any:
    top = select(T.c.id).where(T.c.id == 1).cte("tree", recursive=True)
    return top.union_all(select(T.c.id).join(top, T.c.id == top.c.id + 1))


def _distinct_on_is_new(name: str) -> bool:
    return name == "distinct_on" and not hasattr(postgresql, "distinct_on")


@pytest.mark.parametrize("name", [name for name in READS if not _distinct_on_is_new(name)])
def test_a_plain_query_only_reads(name: str) -> None:
    assert only_reads(READS[name]())


@pytest.mark.parametrize("name", WRITES)
def test_everything_else_may_write(name: str) -> None:
    assert not only_reads(WRITES[name]())


def test_functions_of_ones_own_can_be_named() -> None:
    statement = select(func.Price(T.c.id))
    assert not only_reads(statement)
    assert only_reads(statement, READING | {"price"})


CHANGING = """
clock_timestamp dblink gen_random_uuid lo_import nextval pg_advisory_lock pg_notify pg_sleep random
set_config setval setseed txid_current timeofday
"""


@pytest.mark.parametrize("name", CHANGING.split())
def test_what_changes_or_locks_something_is_not_among_those_that_read(name: str) -> None:
    assert name not in READING


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_what_is_kept_is_what_was_found(name: str) -> None:
    if _distinct_on_is_new(name):
        return
    make, kinds = READS.get(name) or WRITES[name], StatementKinds()
    assert kinds.only_reads(make()) == kinds.only_reads(make()) == only_reads(make())


def test_statements_that_differ_in_values_only_are_looked_at_once() -> None:
    kinds = StatementKinds()
    for number in range(10):
        assert kinds.only_reads(select(T).where(T.c.id == number))
        assert not kinds.only_reads(select(T).where(T.c.id == number).with_for_update())
    assert len(kinds._kept) == 2


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escala.databases.replicas.statement_kind._MOST_KEPT", 3)
    kinds = StatementKinds()
    for number in range(10):
        assert kinds.only_reads(select(T.c.id.label(f"x{number}")))
        assert len(kinds._kept) <= 3

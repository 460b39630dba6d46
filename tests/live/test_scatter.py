"""Scatter over real PostgreSQL: its numbers, its orders, and three servers that work at once."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    DateTime,
    Integer,
    Numeric,
    Text,
    case,
    cast,
    create_engine,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, ProgrammingError, SADeprecationWarning
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column
from tests.databases import books
from tests.databases.answers import alike, fetched
from tests.databases.questions import Questions
from tests.servers.postgres_server import PostgresServer

from escala import Deadline
from escala.databases.pure.sql_number import divide
from escala.databases.scattering.scatter_request import scatter
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.sharded_database import ShardedDatabase
from escala.errors import CannotMerge, DeadlineExceeded

pytestmark = pytest.mark.xdist_group("scatter")

COLOURS = ("psycopg", "psycopg in a loop", "asyncpg")
NAMES = ("s0", "s1", "s2")
WORDED = ("w0", "w1", "w2")  # their text sorts as in a dictionary
TABLES = {**books.TABLES, "odds": "tenant"}
MAP = ShardMap.directory(
    {tenant: NAMES[number % 3] for number, tenant in enumerate(books.TENANTS)}, key="tenant"
)
ORDER_BY_BYTES = "LC_COLLATE 'C' LC_CTYPE 'C'"


class Base(DeclarativeBase):
    pass


class Odd(Base):
    """Types of which each has a way of its own to be compared or reckoned with."""

    __tablename__ = "odds"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    amount: Mapped[Decimal | None] = mapped_column(Numeric)
    whole: Mapped[int | None]
    ratio: Mapped[float | None]
    at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    paid: Mapped[bool | None]
    code: Mapped[UUID | None]
    tags: Mapped[list[int] | None] = mapped_column(ARRAY(Integer))
    more: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))


def odds() -> list[dict[str, Any]]:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    amounts = [None, "0.10", "-7", "12345678901234567890.123", "NaN", "1.5", "1.50", "99.99"]
    return [
        {
            "id": n,
            "tenant": books.TENANTS[n % 9],
            "amount": None if (text := amounts[n % 8]) is None else Decimal(text),
            "whole": None if n % 5 == 0 else n * 7 % 11 - 3,
            "ratio": [None, float("nan"), 1.5, float("-inf"), -0.25][n % 5],
            "at": None if n % 4 == 0 else start + timedelta(hours=n * 5 % 7),
            "paid": [None, True, False][n % 3],
            "code": None if n % 6 == 0 else UUID(int=n * 2**120 + 5),
            "tags": [n],
            "more": {"n": n},
        }
        for n in range(40)
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    folder = Path(tempfile.mkdtemp(prefix="escala-postgres-"))
    try:
        server = PostgresServer(folder)
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write("max_prepared_transactions = 20\nsynchronous_commit = off\n")
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def urls(server: PostgresServer) -> dict[str, str]:
    found = {}
    with psycopg.connect(server.url, autocommit=True) as admin:
        for name in ("one", *NAMES, *WORDED):
            how = ORDER_BY_BYTES
            if name in WORDED:
                how += " LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
            create = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {how}"
            admin.execute(create.encode())
            found[name] = server.url.removesuffix("postgres") + name
    for name, url in found.items():
        engine = create_engine(f"postgresql+psycopg{url[10:]}")
        Base.metadata.create_all(engine)
        books.Base.metadata.create_all(engine)
        listed: dict[Any, list[dict[str, Any]]] = {**books.rows(3), Odd: odds()}
        with engine.begin() as connection:
            for table, rows in listed.items():
                if name != "one" and table is not books.Country:
                    rows = [row for row in rows if MAP.shard(row["tenant"])[1] == name[1]]  # noqa: PLW2901
                connection.execute(insert(table), rows)
        engine.dispose()
    with opened(found) as shards:
        shards.install()
    return found


def opened(urls: dict[str, str], colour: str = "psycopg") -> ShardedDatabase:
    driver = "+asyncpg" if colour == "asyncpg" else ""
    used = {name: f"postgresql{driver}{urls[name][10:]}" for name in NAMES}
    return ShardedDatabase(MAP, used, tables=TABLES, reference=books.REFERENCE)


def run(shards: ShardedDatabase, colour: str, script: Callable[[Any], Any]) -> Any:
    if colour == "psycopg":
        with shards, shards.session() as session:
            return script(session)

    async def main() -> Any:
        async with shards, shards.asession() as session:
            return await session.run_sync(script)

    return asyncio.run(main())


@pytest.fixture(scope="module")
def single(urls: dict[str, str]) -> Iterator[Session]:
    engine = create_engine(f"postgresql+psycopg{urls['one'][10:]}")
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.mark.parametrize("colour", COLOURS)
def test_made_up_questions_have_the_answer_of_one_database(
    colour: str, urls: dict[str, str], single: Session
) -> None:
    questions, counted, refused = Questions(len(colour), server=True), 0, 0

    def script(session: Any) -> None:
        nonlocal counted, refused
        while counted < 50:
            question = questions.next()
            try:
                expected = fetched(single, question.statement, question)
                everything = fetched(single, question.everything, question)
            except ProgrammingError:
                continue  # PostgreSQL itself refuses it
            finally:
                single.rollback()
            counted += 1
            try:
                found = fetched(session, scatter(question.statement, max_shards=3), question)
            except CannotMerge:
                refused += 1
                continue
            session.rollback()
            assert alike(question, expected, found, everything), (
                f"{question.statement}\n{question.parameters}\n{expected}\n{found}"
            )

    run(opened(urls, colour), colour, script)
    assert refused < 15


def first_of_each() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SADeprecationWarning)  # 2.1 has another way to say it
        return select(Odd.paid, Odd.id).distinct(Odd.paid).order_by(Odd.paid, Odd.id)


NUMBERS: dict[str, Any] = {
    "avg of integers": select(func.avg(Odd.whole)),
    "avg of numeric": select(func.avg(Odd.amount)).where(Odd.amount != Decimal("NaN")),
    "avg with NaN": select(func.avg(Odd.amount)),
    "avg of doubles": select(func.avg(Odd.ratio)).where(Odd.id % 5 == 2),
    "sum with infinity": select(func.sum(Odd.ratio)).where(Odd.id % 5 != 1),
    "sums": select(func.sum(Odd.amount), func.sum(Odd.whole)).where(Odd.amount < 100),
    "nothing": select(func.sum(Odd.whole), func.avg(Odd.whole), func.max(Odd.at)).where(Odd.id < 0),
    "ratio": select(func.sum(Odd.whole) / func.count()),
    "ratio of numeric": select(func.sum(Odd.amount) / func.sum(Odd.whole)).where(Odd.amount < 100),
    "product": select(func.sum(Odd.amount) * 3 - func.avg(Odd.whole)).where(Odd.amount < 100),
    "averages sorted": select(Odd.paid, func.avg(Odd.whole))
    .group_by(Odd.paid)
    .order_by(func.avg(Odd.whole).desc(), Odd.paid),
    "extremes": select(func.min(Odd.at), func.max(Odd.amount), func.max(Odd.ratio)),
    "extremes of ratio": select(func.min(Odd.ratio), func.max(Odd.whole), func.min(Odd.amount)),
    "groups of NaN": select(Odd.ratio, func.count())
    .group_by(Odd.amount, Odd.ratio)
    .order_by(Odd.amount, Odd.ratio, func.count()),
    "groups by shard": select(Odd.tenant, func.count(Odd.whole.distinct()))
    .group_by(Odd.tenant)
    .order_by(Odd.tenant),
    "every tenant": select(Odd.tenant, func.string_agg(Odd.tenant, literal(",")))
    .group_by(Odd.tenant)
    .order_by(func.count().desc(), Odd.tenant.desc()),
    "first of each": first_of_each(),
}


@pytest.mark.parametrize("colour", COLOURS)
def test_numbers_have_the_digits_of_one_database(
    colour: str, urls: dict[str, str], single: Session
) -> None:
    def script(session: Any) -> dict[str, list[list[str]]]:
        return {
            name: _digits(session.execute(scatter(statement, max_shards=3)))
            for name, statement in NUMBERS.items()
        }

    found = run(opened(urls, colour), colour, script)
    expected = {name: _digits(single.execute(each)) for name, each in NUMBERS.items()}
    single.rollback()
    assert found == expected


def _digits(rows: Any) -> list[list[str]]:
    return [[str(value) for value in row] for row in rows]


def test_quotients_are_those_of_the_server(urls: dict[str, str]) -> None:
    draw = random.Random(5)

    def number() -> Decimal:
        digits = draw.randint(1, 10 ** draw.randint(1, 30)) * draw.choice([1, -1])
        return Decimal(digits).scaleb(-draw.randint(0, 25))

    with psycopg.connect(urls["one"]) as connection:
        for one, other in ((number(), number()) for _ in range(400)):
            found = connection.execute("SELECT %s::numeric / %s::numeric", (one, other)).fetchone()
            assert str(divide(one, other)) == str(found[0] if found else None), (one, other)


@pytest.mark.parametrize("name", ["amount", "whole", "ratio", "at", "paid", "code", "tenant"])
@pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
def test_each_type_sorts_as_in_one_database(
    name: str, descending: bool, urls: dict[str, str], single: Session
) -> None:
    term = getattr(Odd, name).desc() if descending else getattr(Odd, name)
    statement = select(Odd.id).order_by(term, Odd.id).limit(25).offset(3)
    found = run(
        opened(urls),
        "psycopg",
        lambda session: session.scalars(scatter(statement, max_shards=3)).all(),
    )
    assert found == single.scalars(statement).all()
    single.rollback()


REFUSED: dict[str, Any] = {
    "array": select(Odd.id).order_by(Odd.tags),
    "json": select(Odd.id).order_by(Odd.more),
    "group of arrays": select(Odd.tags, func.count()).group_by(Odd.tags),
    "greatest array": select(func.max(Odd.tags)),
}


def test_what_does_not_compare_alike_is_refused(urls: dict[str, str]) -> None:
    def script(session: Any) -> None:
        for name, statement in REFUSED.items():
            with pytest.raises(CannotMerge):
                pytest.fail(f"{name}: {session.execute(scatter(statement, max_shards=3)).all()}")
        zero = func.sum(Odd.whole) / (func.count() - func.count())
        with pytest.raises(DBAPIError, match="division by zero"):
            session.execute(scatter(select(zero), max_shards=3))

    run(opened(urls), "psycopg", script)


def test_text_sorts_only_by_its_bytes(urls: dict[str, str]) -> None:
    worded = {name: urls[other] for name, other in zip(NAMES, WORDED, strict=True)}
    statement = (
        select(books.Order.city).where(books.Order.city != "").order_by(books.Order.city.desc())
    )
    by_bytes = statement.order_by(None).order_by(books.Order.city.collate("C").desc())

    def script(session: Any) -> Any:
        with pytest.raises(CannotMerge, match="collation other than C"):
            session.execute(scatter(statement, max_shards=3))
        return session.scalars(scatter(by_bytes, max_shards=3)).all()

    with opened(worded) as shards:
        shards.install()
    found = run(opened(worded), "psycopg", script)
    assert found == sorted(found, reverse=True)


SLOW = select(books.Order.id).where(func.pg_sleep(0.4).is_not(None)).limit(1)


@pytest.mark.parametrize("colour", COLOURS)
def test_shards_are_waited_for_at_once(colour: str, urls: dict[str, str]) -> None:
    def script(session: Any) -> float:
        session.execute(scatter(select(func.count(books.Order.id)), max_shards=3))
        start = time.monotonic()
        session.execute(scatter(SLOW, max_shards=3))
        return time.monotonic() - start

    assert run(opened(urls, colour), colour, script) < 1.0


STUCK = select(books.Order.id).where(func.pg_sleep(20).is_not(None))


@pytest.mark.parametrize("colour", COLOURS)
def test_the_deadline_ends_it_on_every_server(colour: str, urls: dict[str, str]) -> None:
    def script(session: Any) -> int:
        with Deadline("300ms"), pytest.raises(DeadlineExceeded):
            session.execute(scatter(STUCK, max_shards=3))
        session.rollback()
        return int(session.scalar(scatter(select(func.count(books.Order.id)), max_shards=3)))

    start = time.monotonic()
    assert run(opened(urls, colour), colour, script) == 60
    assert time.monotonic() - start < 8
    assert not _still_asleep(urls)


def test_a_server_that_hangs_is_left_at_the_deadline(
    server: PostgresServer, urls: dict[str, str]
) -> None:
    counted = scatter(select(func.count(books.Order.id)), max_shards=3)

    def script(session: Any) -> int:
        session.scalar(counted)
        server.freeze()
        start = time.monotonic()
        try:
            with Deadline("200ms"), pytest.raises(DeadlineExceeded):
                session.scalar(counted)
        finally:
            server.freeze(signal.SIGCONT)
        assert time.monotonic() - start < 8
        session.rollback()
        return int(session.scalar(counted))

    assert run(opened(urls), "psycopg", script) == 60


@pytest.mark.parametrize("colour", COLOURS)
def test_the_first_error_ends_the_others(colour: str, urls: dict[str, str]) -> None:
    # The tenant of order 0 is on one shard, which fails when it comes to it; the others sleep.
    other = aliased(books.Order)
    fails = 1 / (books.Order.id - books.Order.id)
    sleeps = func.length(cast(func.pg_sleep(20), Text))
    here = exists().where(other.tenant == books.Order.tenant, other.id == 0).correlate(books.Order)
    broken = select(books.Order.id).where(case((here, fails), else_=sleeps) >= 0)

    def script(session: Any) -> int:
        with pytest.raises(DBAPIError, match="division by zero"):
            session.execute(scatter(broken, max_shards=3))
        session.rollback()
        return int(session.scalar(scatter(select(func.count(books.Order.id)), max_shards=3)))

    start = time.monotonic()
    assert run(opened(urls, colour), colour, script) == 60
    assert time.monotonic() - start < 8
    assert not _still_asleep(urls)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_change_is_counted_over_all_shards(colour: str, urls: dict[str, str]) -> None:
    raised = update(books.Order).where(books.Order.qty > 2).values(qty=books.Order.qty + 100)
    gone = delete(books.Order).where(books.Order.qty > 100)

    def script(session: Any) -> list[int]:
        expected = session.scalar(
            scatter(
                select(func.count()).select_from(books.Order).where(books.Order.qty > 2),
                max_shards=3,
            )
        )
        counts = [session.execute(scatter(raised, max_shards=3)).rowcount]
        session.execute(scatter(delete(books.Item), max_shards=3))
        counts.append(session.execute(scatter(gone, max_shards=3)).rowcount)
        session.rollback()
        return [expected, *counts]

    expected, *counts = run(opened(urls, colour), colour, script)
    assert counts == [expected, expected]
    assert expected > 5


def _still_asleep(urls: dict[str, str]) -> list[Any]:
    with psycopg.connect(urls["one"], autocommit=True) as admin:
        return admin.execute(
            "SELECT query FROM pg_stat_activity WHERE state = 'active'"
            " AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
        ).fetchall()

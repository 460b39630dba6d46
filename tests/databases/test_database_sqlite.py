from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from escala import Database, Lag, PowerOfTwoChoices
from escala.databases.pure.token import Position, position, signed
from escala.databases.replicas.consistency import scope
from escala.errors import ConfigError, NoPrimary

SECRET = "only the shop knows"


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'shop.db'}", secret=SECRET) as db:
        Base.metadata.create_all(db.engine)
        yield db


def test_sync_sessions(db: Database) -> None:
    with db.session() as session, session.begin():
        session.add(Note(id=1, body="first"))
    with db.session() as session:
        note = session.get(Note, 1)
        assert note is not None
        note.body = "second"  # there is one node, so a write may follow a read
        session.commit()
        assert session.scalars(select(Note.body)).all() == ["second"]
    with db.session(write=True, expire_on_commit=False) as session:
        assert session.expire_on_commit is False
        assert session.execute(text("SELECT count(*) FROM notes")).scalar() == 1
    assert isinstance(session, Session)


def test_async_sessions_on_the_same_file(db: Database) -> None:
    async def main() -> None:
        async with db.asession() as session:
            session.add(Note(id=1, body="first"))
            await session.commit()
            assert (await session.scalars(select(Note.body))).all() == ["first"]
        async with db.asession(write=True) as session, session.begin():
            note = await session.get_one(Note, 1)
            note.body = "second"
        async with db.async_engine.connect() as connection:
            assert await connection.scalar(select(Note.body)) == "second"
        assert isinstance(session, AsyncSession)
        await db.aclose()

    asyncio.run(main())
    with db.session() as session:
        assert session.scalar(select(Note.body)) == "second"


def test_it_is_opened_in_either_colour(tmp_path: Path) -> None:
    async def main() -> None:
        async with Database(f"sqlite:///{tmp_path / 'shop.db'}") as db:
            session = db.asession()
            assert await session.scalar(text("SELECT 1")) == 1
            await session.close()

    asyncio.run(main())


def test_tokens_work_as_with_replicas(db: Database) -> None:
    with db.consistency() as seen:
        with db.session() as session, session.begin():
            session.add(Note(id=1, body="first"))
        token = seen.token()
    assert position(token, SECRET.encode()) == Position(0, 0, 0)
    with db.consistency(token) as seen, db.session() as session:
        assert session.scalar(select(Note.body)) == "first"
        assert asyncio.run(seen.atoken()) == token


def test_a_block_holds_for_its_own_database_and_ends(db: Database, tmp_path: Path) -> None:
    other = Database(f"sqlite:///{tmp_path / 'other.db'}", secret=SECRET)
    with db.consistency() as outer:
        assert scope(id(db)) is outer._seen
        assert scope(id(other)) is None
        with other.consistency(), db.consistency() as inner:
            assert scope(id(db)) is outer._seen
            assert inner._seen is outer._seen
            assert scope(id(other)) is not None
        assert scope(id(other)) is None
    assert scope(id(db)) is None


def test_tasks_of_a_block_have_its_floor(db: Database) -> None:
    async def main() -> None:
        async def inside() -> object:
            return scope(id(db))

        with db.consistency() as seen:
            task = asyncio.create_task(inside())
        assert await task is seen._seen
        assert scope(id(db)) is None

    asyncio.run(main())


STRANGE = ["", "x", "A" * 50, signed(Position(1, 1, 1), b"not ours at all")]


@pytest.mark.parametrize("token", STRANGE, ids=["empty", "short", "zeros", "theirs"])
def test_a_token_of_someone_else_is_none(db: Database, token: str) -> None:
    with db.consistency(token) as seen:
        assert (seen._seen.lsn, seen._seen.since) == (0, None)


def test_a_token_is_text(db: Database) -> None:
    with pytest.raises(ConfigError, match="token: expected text, found bytes"):
        db.consistency(b"x" * 50)  # type: ignore[arg-type]


def test_without_a_secret_there_are_no_tokens(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    with pytest.raises(ConfigError, match="secret: expected one to sign tokens with"):
        db.consistency("x")
    with db.consistency() as seen, pytest.raises(ConfigError, match="secret"):
        seen.token()
    with pytest.raises(ConfigError, match="secret"):
        asyncio.run(seen.atoken())


def test_snapshot(db: Database) -> None:
    shown = db.snapshot()
    name = shown["primary"]
    assert name.endswith("shop.db")
    assert [(node["name"], node["role"], node["in_flight"]) for node in shown["nodes"]] == [
        (name, "primary", 0)
    ]


def test_a_postgresql_that_was_not_opened_has_no_primary() -> None:
    db = Database("postgresql://h1,h2/shop")
    assert repr(db) == "Database('h1:5432,h2:5432')"
    with pytest.raises(NoPrimary, match="it is not open: db"):
        _ = db.engine
    with pytest.raises(NoPrimary), db.session() as session:
        session.scalar(select(Note.body))
    assert db.snapshot()["primary"] is None


def test_a_connection_for_reads_keeps_the_callers_options() -> None:
    db = Database("postgresql://h1,h2/shop", connect_args={"options": "-c search_path=tea"})
    said = db.nodes[0]._said(db.nodes[0].url.sync(read_only=True)[1])
    assert said["connect_args"] == {
        "options": "-c search_path=tea -c default_transaction_read_only=on"
    }


def test_a_token_of_another_system_counts_for_all_until_now() -> None:
    db = Database("postgresql://h1,h2/shop", secret=SECRET)
    token = signed(Position(99, 1, 10**12), SECRET.encode())
    with db.consistency(token) as seen:
        assert seen._seen.lsn == 0
        assert seen._seen.since is not None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"fallback": "replica"}, "fallback: expected one of 'primary', 'refuse'"),
        ({"upgrade": "yes"}, "upgrade: expected one of 'move', 'refuse'"),
        ({"functions": "price"}, "functions: expected a list of names"),
        ({"secret": "short"}, "secret: expected at least 16 bytes, found 5"),
        ({"interval": 0}, "interval: expected a duration above zero"),
        ({"patience": "soon"}, "patience: expected a duration"),
        ({"slow_start": -1}, "slow_start: expected a duration"),
        ({"policy": "fastest"}, "fastest"),
        ({"lag": 5}, "lag: expected a Lag"),
        ({"policy": 3}, "policy: expected a balancer or its name, found 3"),
        ({"secret": 5}, "secret: expected text or bytes, found int"),
        ({"functions": [5]}, "functions: expected names"),
        ({"creator": print}, "creator: expected none, since each node has connections of its own"),
        ({"connect_args": 5}, "connect_args: expected a mapping, found 5"),
        ({"quorum": 0}, "quorum: expected"),
        ({"quorum": 2}, "quorum: expected at most 1 nodes, found 2"),
        ({"pool_sise": 5}, "the options of its engines \\(pool_sise\\): Invalid argument"),
    ],
    ids=lambda value: "-".join(map(str, *value.items())) if isinstance(value, dict) else "why",
)
def test_wrong_options(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Database("sqlite://", **wrong)


@pytest.mark.parametrize("wrong", [{"max_bytes": "8"}, {"max_age": 0}], ids=["bytes", "age"])
def test_wrong_lags(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Lag: max_"):
        Lag(**wrong)


def test_options_of_the_engine_and_of_balancing() -> None:
    db = Database("sqlite://", policy=PowerOfTwoChoices(), echo=True, lag=Lag(max_bytes="1MiB"))
    assert db.engine.echo is True
    db.close()

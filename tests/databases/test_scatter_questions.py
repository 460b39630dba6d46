"""Hundreds of made-up queries over three shards give what one database gives, or are refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert
from sqlalchemy.orm import Session
from tests.databases.answers import alike, fetched
from tests.databases.books import REFERENCE, TABLES, TENANTS, Base, Country, rows
from tests.databases.questions import Questions

from escala.databases.scattering.scatter_request import scatter
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.sharded_database import ShardedDatabase
from escala.errors import CannotMerge

COUNT = int(os.environ.get("ESCALA_QUESTIONS", "500"))
MAP = ShardMap.directory(
    {tenant: f"s{number % 3}" for number, tenant in enumerate(TENANTS)}, key="tenant"
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShardedDatabase]:
    folder: Path = tmp_path_factory.mktemp("shards")
    urls = {name: f"sqlite:///{folder}/{name}.db" for name in MAP.shards}
    with ShardedDatabase(MAP, urls, tables=TABLES, reference=REFERENCE) as made:
        made.install()
        for name in made.names:
            Base.metadata.create_all(made.engine(name))
            for table, listed in rows(1).items():
                own = [
                    row for row in listed if table is Country or MAP.shard(row["tenant"]) == name
                ]
                with made.engine(name).begin() as connection:
                    connection.execute(insert(table), own)
        yield made


@pytest.fixture(scope="module")
def single() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for table, listed in rows(1).items():
            connection.execute(insert(table), listed)
    yield engine
    engine.dispose()


def test_made_up_questions_have_the_answer_of_one_database(
    shards: ShardedDatabase, single: Engine
) -> None:
    questions, refused = Questions(int(os.environ.get("ESCALA_SEED", "7"))), Counter[str]()
    for number in range(COUNT):
        question = questions.next()
        with Session(single) as session:
            expected = fetched(session, question.statement, question)
            everything = fetched(session, question.everything, question)
        with shards.session() as session:
            try:
                found = fetched(session, scatter(question.statement, max_shards=3), question)
            except CannotMerge as error:
                refused[str(error)] += 1
                continue
        assert alike(question, expected, found, everything), (
            f"{number}: {question.statement}\n{question.parameters}\n{expected}\n{found}"
        )
    assert refused.total() < COUNT * 0.2, refused
    assert refused.total() > COUNT * 0.02, "the questions should hold some that are refused"

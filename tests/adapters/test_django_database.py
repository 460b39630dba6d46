"""The decisions of the Django router and middleware, on aliases of SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, OperationalError
from django.db.utils import ConnectionHandler
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from escala.adapters import django_database
from escala.adapters.django_database import ConsistencyMiddleware, ReplicaRouter
from escala.databases.pure.topology import Sighting
from escala.databases.replicas.database import Database
from escala.databases.replicas.seen import Seen
from escala.errors import ConfigError, NoPrimary
from escala.kernel.runtime import colours

SYSTEM = 7
ALIASES = {"h1:5432": "h1", "h2:5432": "h2", "h3:5432": "h3"}


class Known(Database):
    """A database that no one has to ask how far it is."""

    def token(self, seen: Seen) -> str:
        return f"seen-{seen.since is not None}"

    def join(self, seen: Seen, token: str | None) -> None:
        if token is not None:
            seen.at_least(int(token), 1)

    def look(self, node: int, lsn: int, *, failed: bool = False) -> None:
        now = colours.thread.now()
        if failed:
            self.cluster.failed(node, now, "it is down")
            return
        recovery = node != 0
        self.cluster.saw(
            Sighting(node, now, now, SYSTEM, in_recovery=recovery, timeline=1, lsn=lsn)
        )


@pytest.fixture
def database() -> Iterator[Known]:
    database = Known(
        "postgresql://app@h1,h2,h3/shop",
        policy="round_robin",
        slow_start=0,
        secret="of sixteen bytes",
    )
    for node in range(3):
        database.look(node, 100)
    yield database
    database.close()


@pytest.fixture
def aliases(tmp_path: Path) -> Iterator[ConnectionHandler]:
    if not settings.configured:  # as the other tests of Django configure it
        settings.configure(
            ROOT_URLCONF="escala_test_urls", ALLOWED_HOSTS=["shop"], SECRET_KEY="none"
        )
    sqlite = {"ENGINE": "django.db.backends.sqlite3"}
    names = ("default", *ALIASES.values())
    handler = ConnectionHandler({name: {**sqlite, "NAME": tmp_path / name} for name in names})
    yield handler
    handler.close_all()


@pytest.fixture
def router(
    database: Database, aliases: ConnectionHandler, monkeypatch: pytest.MonkeyPatch
) -> ReplicaRouter:
    router = ReplicaRouter(database, ALIASES)
    monkeypatch.setattr(django_database, "connections", aliases)
    monkeypatch.setattr(django_database, "project", SimpleNamespace(routers=[object(), router]))
    return router


def reads(router: ReplicaRouter, count: int = 4) -> list[str]:
    return [router.db_for_read(None) for _ in range(count)]


def test_reads_go_to_replicas_in_turn(router: ReplicaRouter) -> None:
    with router.visit():
        assert reads(router) == ["h2", "h3", "h2", "h3"]
    assert router.database.snapshot()["nodes"][1]["in_flight"] == 0


def test_outside_of_a_visit_all_goes_to_the_primary(router: ReplicaRouter) -> None:
    assert reads(router) == ["default"] * 4
    with router.visit(), Known("postgresql://app@h9/shop").consistency():
        assert reads(router, 1) == ["h2"]
    assert router.db_for_write(None) == "default"
    with ReplicaRouter(Known("postgresql://app@h1/shop"), {}).visit():
        assert (reads(router, 1), router.db_for_write(None)) == (["default"], "default")


def test_reads_after_a_write_wait_for_a_replica_that_has_it(router: ReplicaRouter) -> None:
    database = router.database
    assert isinstance(database, Known)
    with router.visit() as visit:
        assert router.db_for_write(None) == "default"
        assert visit.wrote
        assert reads(router, 2) == ["default"] * 2
        database.look(0, 300)
        database.look(2, 300)
        assert reads(router, 2) == ["default"] * 2  # each of them has seen the primary again
        visit.settle()
        database.look(0, 300)
        assert reads(router, 2) == ["h3"] * 2
        database.look(1, 300)
        assert set(reads(router)) == {"h2", "h3"}


def test_what_the_token_says_is_seen(router: ReplicaRouter) -> None:
    database = router.database
    assert isinstance(database, Known)
    database.look(0, 200)
    database.look(2, 200)
    with router.visit("150"):
        assert reads(router, 2) == ["h3", "h3"]


def test_a_transaction_stays_where_it_is(router: ReplicaRouter, aliases: ConnectionHandler) -> None:
    with router.visit() as visit:
        for alias in ("default", "h3"):
            aliases[alias].in_atomic_block = True
            assert reads(router) == [alias] * 4
            assert visit.touched == (alias == "default")
            aliases[alias].in_atomic_block = False
            visit.touched = False
        assert not visit.wrote


def test_a_replica_that_cannot_be_reached_is_passed_over(
    router: ReplicaRouter, aliases: ConnectionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects: list[int] = []

    def fail() -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(aliases["h2"], "ensure_connection", fail)
    router.database.cluster.suspect = suspects.append
    with router.visit():
        assert reads(router) == ["h3"] * 4
        assert set(suspects) == {1}
        monkeypatch.setattr(aliases["h3"], "ensure_connection", fail)
        assert reads(router, 1) == ["default"]


def test_nodes_without_an_alias_are_not_read(router: ReplicaRouter) -> None:
    few = ReplicaRouter(router.database, {"h3:5432": "h3"})
    with few.visit():
        assert reads(few) == ["h3"] * 4


def test_no_replica_is_left(router: ReplicaRouter) -> None:
    database = router.database
    assert isinstance(database, Known)
    for node in (1, 2):
        database.look(node, 0, failed=True)
    with router.visit():
        assert reads(router, 1) == ["default"]


def test_relations_and_migrations(router: ReplicaRouter) -> None:
    def row(alias: str) -> Any:
        return SimpleNamespace(_state=SimpleNamespace(db=alias))

    assert router.allow_relation(row("h1"), row("default")) is True
    assert router.allow_relation(row("h1"), row("other")) is None
    assert [router.allow_migrate(name, "shop") for name in ("default", "h1", "other")] == [
        None,
        False,
        None,
    ]


def test_a_node_that_the_database_does_not_have(database: Database) -> None:
    with pytest.raises(ConfigError, match=r"nodes: expected some of h1:5432, .* found 'h4:5432'"):
        ReplicaRouter(database, {"h4:5432": "h4"})


def test_a_database_that_is_not_open_is_told_as_django_tells_it(
    router: ReplicaRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "database", Known("postgresql://app@h1/shop"))
    engine = {"ENGINE": "escala.adapters.django_postgresql", "NAME": "shop"}
    connection = ConnectionHandler({"default": engine})["default"]
    with pytest.raises(OperationalError, match="it is not open: db") as refused:
        connection.ensure_connection()
    assert isinstance(refused.value, NoPrimary)


def test_a_project_without_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_database, "project", SimpleNamespace(routers=[]))
    with pytest.raises(ConfigError, match="DATABASE_ROUTERS: expected a ReplicaRouter"):
        ConsistencyMiddleware(lambda _: HttpResponse())


def test_an_answer_to_a_write_sets_the_cookie(router: ReplicaRouter) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        found = router.db_for_read(None)
        if request.GET:
            router.db_for_write(None)
        return HttpResponse(found)

    served = ConsistencyMiddleware(view)
    ask = RequestFactory()
    read = served(ask.get("/"))
    assert (read.content, read.cookies, "Escala-Seen" in read.headers) == (b"h2", {}, False)
    for request in (ask.post("/"), ask.get("/?writes=1")):
        wrote = served(request)
        cookie = wrote.cookies["escala_seen"]
        assert cookie.value == wrote.headers["Escala-Seen"] == "seen-True"
        assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, "", "Lax")
        assert (cookie["max-age"], wrote.headers["Vary"]) == (300, "Cookie")
    ask.cookies["escala_seen"] = "999"
    assert served(ask.get("/")).content == b"default"
    assert served(ask.get("/", headers={"Escala-Seen": "1"})).content in {b"h2", b"h3"}
    assert reads(router, 1) == ["default"]  # the visit is over


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_an_answer_is_given_also_when_the_primary_is_gone(
    router: ReplicaRouter, monkeypatch: pytest.MonkeyPatch, colour: str
) -> None:
    async def aview(_: HttpRequest) -> HttpResponse:
        return HttpResponse("written")

    def token(_: Seen) -> str:
        raise NoPrimary("gone")

    monkeypatch.setattr(router.database, "token", token)
    if colour == "sync":
        answer = ConsistencyMiddleware(lambda _: HttpResponse("written"))(RequestFactory().post(""))
    else:
        answer = asyncio.run(ConsistencyMiddleware(aview)(AsyncRequestFactory().post("")))
    assert (answer.content, answer.cookies) == (b"written", {})


def test_async_views(router: ReplicaRouter) -> None:
    async def view(_: HttpRequest) -> HttpResponse:
        return HttpResponse(await sync_to_async(router.db_for_read)(None))

    served = ConsistencyMiddleware(view)
    wrote = asyncio.run(served(AsyncRequestFactory().post("/")))
    assert wrote.cookies["escala_seen"].value == "seen-True"
    read = asyncio.run(served(AsyncRequestFactory().get("/")))
    assert (read.content, read.cookies) == (b"h3", {})

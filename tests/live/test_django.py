"""A Django project over a cluster with replicas."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.servers.postgres_cluster import PostgresCluster, PostgresNode, postgres_cluster, until

pytestmark = pytest.mark.xdist_group("failover")

SHOP = str(Path(__file__).parent / "django_shop.py")


class Shop:
    """The project in a process of its own."""

    def __init__(self, url: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, SHOP, url], stdin=pipe, stdout=pipe, text=True
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def heard(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, line: str) -> Any:
        self.say(line)
        return self.heard()

    def close(self) -> None:
        self.process.communicate(timeout=20)


@pytest.fixture
def cluster() -> Iterator[PostgresCluster]:
    with postgres_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def shop(cluster: PostgresCluster) -> Iterator[Shop]:
    shop = Shop(cluster.url)
    try:
        assert shop.ask("made()") is None
        yield shop
    finally:
        shop.close()


def ask(view: str, method: str, **fields: str) -> str:
    words = f"'/{view}', {fields}" if method == "post" else f"'/{view}'"
    if view == "ateas":
        return f"asyncio.run(aclient.{method}({words})).json()"
    return f"client.{method}({words}).json()"


def test_a_shop(cluster: PostgresCluster, shop: Shop) -> None:
    who_has_written_sees_it(cluster, shop)
    after_a_failover(cluster, shop)


def who_has_written_sees_it(cluster: PostgresCluster, shop: Shop) -> None:
    ready = "sum(node['readable'] for node in database.snapshot()['nodes']) == 2"
    assert shop.ask(f"wait({ready!r})")
    cluster.wait_caught_up()
    for node in cluster.replicas:
        node.pause_replay()
    names: list[str] = []
    for view in ("teas", "ateas"):
        for _ in range(2):
            names.append(f"tea {len(names)}")
            here = {"names": names, "from": ["default"]}
            assert shop.ask(ask(view, "post", name=names[-1])) == here
            assert shop.ask(ask(view, "get")) == here
    assert shop.ask("client.cookies['escala_seen']['httponly']") is True
    assert shop.ask("Client().get('/teas').json()") == {"names": [], "from": []}
    for node in cluster.replicas:
        node.resume_replay()
    cluster.wait_caught_up()
    found = []
    for view in ("teas", "ateas") * 100:  # who was late comes back little by little
        found.append(shop.ask(ask(view, "get")))
        if {each["from"][0] for each in found} == {"n1", "n2"}:
            break
    assert all(each["names"] == names for each in found)
    assert {each["from"][0] for each in found} == {"n1", "n2"}
    assert shop.ask("in_a_transaction()") == ["default"] * 4
    assert shop.ask("Tea.objects.order_by('id')[0]._state.db") == "default"  # in no visit


def no_standby_has_it(primary: PostgresNode, shop: Shop) -> None:
    """A commit that waits for a standby is cut short, by itself or with its connection."""
    name = "synchronous_standby_names"
    primary.sql(f"ALTER SYSTEM SET {name} = 'nobody'")
    primary.reload()
    until(lambda: primary.sql(f"SHOW {name}") == [("nobody",)], "the settings are read")
    for how in ("pg_cancel_backend(pid)", "pg_terminate_backend(pid)"):
        cuts = f"SELECT {how} FROM pg_stat_activity WHERE wait_event = 'SyncRep'"  # noqa: S608
        for what in ("add('alone')", "Tea.objects.create(name='alone') and None"):
            shop.say(what)
            until(partial(primary.sql, cuts), "the commit waits")
            assert shop.heard() == "CommitUnknownError", (how, what)
            assert shop.ask("connection.close()") is None
    assert shop.ask("Tea.objects.filter(name='alone').count()") == 4
    primary.sql(f"ALTER SYSTEM RESET {name}")
    primary.reload()
    until(lambda: primary.sql(f"SHOW {name}") == [("",)], "the settings are read")


def after_a_failover(cluster: PostgresCluster, shop: Shop) -> None:
    old, new, _ = cluster.nodes
    assert shop.ask("add('one')") is None
    cluster.wait_caught_up()
    shop.say("begun_before('fenced', \"database.snapshot()['timeline'] == 2\")")
    assert shop.heard() == "begun"
    cluster.promote(new)  # by someone else, and the old one goes on as if nothing had happened
    assert shop.ask("go on") == "FencedError"
    assert shop.ask("add('two')") is None
    assert shop.ask(ask("teas", "post", name="three"))["names"][4:] == ["one", "two", "three"]
    assert old.sql("SELECT name FROM shop_tea OFFSET 4") == [("one",)]
    assert new.sql("SELECT name FROM shop_tea OFFSET 5") == [("two",), ("three",)]
    new.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE query LIKE '%shop_tea%' AND pid <> pg_backend_pid()"
    )
    assert shop.ask("Tea.objects.create(name='refused')") == "OperationalError"
    assert shop.ask("connection.close()") is None
    no_standby_has_it(new, shop)
    shop.say("begun_before('unknown')")
    assert shop.heard() == "begun"
    new.kill()
    assert shop.ask("go on") == "CommitUnknownError"

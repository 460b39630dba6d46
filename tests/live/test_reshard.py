"""Slots move between real servers: what is refused, what is noticed, what a stranger may do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.servers.postgres_server import PostgresServer
from tests.servers.shard_servers import (
    TABLE,
    left_behind,
    make_shards,
    orders,
    shard_servers,
    unmake_shards,
)

from escala.cli import main
from escala.databases.resharding import cutting, fence, maps
from escala.databases.resharding.follow import caught_up
from escala.databases.resharding.node import Node
from escala.databases.resharding.progress import Progress
from escala.databases.resharding.reshard import Reshard
from escala.databases.resharding.status import PairStatus
from escala.databases.resharding.waiting import now, pause, wait_until
from escala.databases.sharding.shard_map import ShardMap
from escala.errors import CannotReshard, ConfigError

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("reshard"), pytest.mark.timeout(120)]

MAP = ShardMap.slots(["s0", "s1"], key="tenant_id")
GOAL = MAP.with_shards(["s0", "s1", "s2"])
TENANTS, ROWS = 200, 2000
Servers = dict[str, PostgresServer]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with shard_servers("s0", "s1", "s2") as running:
        yield running


@pytest.fixture
def urls(servers: Servers) -> Iterator[dict[str, str]]:
    urls = {name: server.url for name, server in servers.items()}
    make_shards(urls, MAP, tenants=TENANTS, rows=ROWS)
    yield urls
    Reshard(urls, tables={"orders": "tenant_id"})
    unmake_shards(urls)


@pytest.fixture
def reshard(urls: dict[str, str]) -> Reshard:
    return Reshard(urls, tables={"orders": "tenant_id"}, to=GOAL)


def states(found: list[PairStatus]) -> list[str]:
    return [pair.state for pair in found]


def moving_tenants(source: str = "s0") -> list[str]:
    return [
        f"t{number}"
        for number in range(TENANTS)
        if MAP.shard(f"t{number}") == source and GOAL.shard(f"t{number}") == "s2"
    ]


def write(url: str, shard: str, sql: str, *values: object, epoch: int | None = None) -> int:
    """One write as a router would make it."""
    with psycopg.connect(url) as connection:
        if epoch is None:
            row = connection.execute("SELECT epoch FROM escala.shard").fetchone()
            assert row is not None
            epoch = row[0]
            connection.commit()
        connection.execute("SELECT escala.enter(%s, %s, true)", (shard, epoch))
        return connection.execute(sql.encode(), values).rowcount


def test_there_and_back_and_there_again(reshard: Reshard, urls: dict[str, str]) -> None:
    before = orders(urls, MAP)
    mine, stays = moving_tenants()[:3], "t0" if GOAL.shard("t0") == "s0" else "t3"
    plan = reshard.plan()
    assert [(pair.source, pair.target) for pair in plan.pairs] == [("s0", "s2"), ("s1", "s2")]
    assert (plan.problems, plan.warnings) == ([], [])
    assert 0.2 * ROWS < sum(pair.rows for pair in plan.pairs) < 0.5 * ROWS
    assert left_behind(urls) == {}

    assert states(reshard.run()) == ["ready", "ready"]
    found = dict(before)

    def changed(url: str, shard: str, step: int) -> None:
        for number, tenant in enumerate(mine):
            key = 10**6 * step + number
            assert write(url, shard, "INSERT INTO orders VALUES (%s, %s, 7)", key, tenant) == 1
            found[key] = (tenant, 7)
            first, last = [each for each in sorted(found) if found[each][0] == tenant][:2]
            write(url, shard, "UPDATE orders SET amount = %s WHERE id = %s", step, first)
            write(url, shard, "DELETE FROM orders WHERE id = %s", last)
            found[first] = (tenant, step)
            del found[last]

    changed(urls["s0"], "s0", 1)
    assert states(reshard.cutover()) == ["moved", "moved"]
    assert states(reshard.cutover()) == ["moved", "moved"], "again is nothing"
    with pytest.raises(psycopg.DatabaseError) as refused:
        write(urls["s0"], "s0", "DELETE FROM orders", epoch=MAP.epoch)
    assert refused.value.sqlstate == "ES001"
    changed(urls["s2"], "s2", 2)
    assert states(reshard.reverse()) == ["following", "following"]
    changed(urls["s0"], "s0", 3)
    assert states(reshard.run()) == ["ready", "ready"]
    assert states(reshard.cutover()) == ["moved", "moved"]
    changed(urls["s2"], "s2", 4)
    assert states(reshard.complete()) == ["done", "done"]

    now = reshard.current_map()
    assert (now.owners, now.moving) == (GOAL.owners, ())
    assert orders(urls, now) == found
    assert left_behind(urls) == {}
    assert stays not in mine


def test_a_row_whose_key_changes_leaves_or_joins(reshard: Reshard, urls: dict[str, str]) -> None:
    found = orders(urls, MAP)
    goes = moving_tenants()[0]
    stays = next(f"t{n}" for n in range(TENANTS) if GOAL.shard(f"t{n}") == "s0")
    leaves = next(number for number, (tenant, _) in found.items() if tenant == goes)
    joins = next(number for number, (tenant, _) in found.items() if tenant == stays)
    reshard.run()
    for number, tenant in ((leaves, stays), (joins, goes)):
        write(urls["s0"], "s0", "UPDATE orders SET tenant_id = %s WHERE id = %s", tenant, number)
        found[number] = (tenant, found[number][1])
    reshard.cutover()
    reshard.complete()
    assert orders(urls, reshard.current_map()) == found


def test_the_heir_may_crash_right_after_the_cutover(
    reshard: Reshard, urls: dict[str, str], servers: Servers
) -> None:
    found = orders(urls, MAP)
    tenant = moving_tenants()[0]
    reshard.run()
    write(urls["s0"], "s0", "INSERT INTO orders VALUES (-1, %s, 1)", tenant)
    reshard.cutover()
    servers["s2"].kill()
    servers["s2"].start()
    write(urls["s2"], "s2", "UPDATE orders SET amount = 2 WHERE id = -1")
    found[-1] = (tenant, 2)
    assert [pair.failures for pair in reshard.reverse()] == [0, 0]
    reshard.abort()
    assert orders(urls, MAP) == found
    assert left_behind(urls) == {}


def test_a_long_transaction_is_named_and_no_one_waits_for_it(
    reshard: Reshard, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "_TRIES", 2)
    reshard.run()
    epoch = reshard.current_map().epoch
    with psycopg.connect(urls["s0"], application_name="nightly report") as long:
        long.execute("SELECT escala.enter('s0', %s, true)", (epoch,))
        with pytest.raises(CannotReshard, match=r"process \d+ of nightly report.*escala\.enter"):
            reshard.cutover()
        assert write(urls["s0"], "s0", "UPDATE orders SET amount = 1", epoch=epoch) > 0
        assert states(reshard.status()) == ["ready", "ready"]
    assert states(reshard.cutover()) == ["moved", "moved"]


def test_truncating_is_noticed(reshard: Reshard, urls: dict[str, str]) -> None:
    reshard.run()
    write(urls["s0"], "s0", "TRUNCATE orders")
    with pytest.raises(CannotReshard, match=r"truncated, rewritten or altered.*run again"):
        reshard.cutover()
    with pytest.raises(CannotReshard, match=r"not the same.*slots from \d+: 0 rows"):
        reshard.run()
    with pytest.raises(CannotReshard, match="not verified yet"):
        reshard.cutover()
    reshard.abort()
    assert left_behind(urls) == {}
    assert {MAP.shard(tenant) for tenant, _ in orders(urls, MAP).values()} == {"s1"}


@pytest.mark.parametrize(
    "spoil",
    [
        "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders WHERE tenant_id = %s)",
        "UPDATE orders SET amount = 9 WHERE id = (SELECT min(id) FROM orders WHERE tenant_id = %s)",
        "INSERT INTO orders VALUES (-5, %s, 1)",
    ],
    ids=["lost", "changed", "invented"],
)
def test_one_row_that_is_not_the_same_is_found(
    reshard: Reshard, urls: dict[str, str], spoil: str
) -> None:
    def tell(progress: Progress) -> None:
        if progress.state == "following" and not spoiled:
            spoiled.append(1)
            with psycopg.connect(urls["s2"]) as connection:
                connection.execute(spoil.encode(), (moving_tenants()[0],))

    spoiled: list[int] = []
    told = Reshard(urls, tables={"orders": "tenant_id"}, to=GOAL, tell=tell)
    with pytest.raises(CannotReshard, match="the rows are not the same, 1 times"):
        told.run()
    assert reshard.status()[0].state == "following"
    reshard.abort()
    assert len(orders(urls, MAP)) == ROWS


def test_the_server_ends_the_fence_of_a_coordinator_that_is_frozen(urls: dict[str, str]) -> None:
    node = Node("s0", urls["s0"])
    shard_map = maps.newest([node])
    epoch = shard_map.epoch

    def frozen() -> None:
        with fence.fence(node, 0.1):
            assert write(urls["s0"], "s0", "UPDATE orders SET amount = 3", epoch=epoch) > 0
            maps.decide(node, shard_map.pin("t1", "s0"))

    with pytest.raises(psycopg.OperationalError):
        frozen()
    node.close()
    assert maps.newest([node]) == shard_map, "it decides nothing afterwards"
    node.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_coordinator_that_freezes_at_the_decision_goes_on(
    reshard: Reshard, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    decide, slow = maps.decide, [1, 2]

    def frozen(node: Node, shard_map: ShardMap) -> bool:
        if when == "before" and slow:
            pause(0.3 * slow.pop())
        decided = decide(node, shard_map)
        if when == "after" and slow:
            pause(0.3 * slow.pop())
        return decided

    monkeypatch.setattr(maps, "decide", frozen)
    monkeypatch.setattr(cutting, "_BETWEEN", 0.01)
    found = orders(urls, MAP)
    reshard.run()
    assert states(reshard.cutover()) == ["moved", "moved"]
    reshard.complete()
    assert orders(urls, reshard.current_map()) == found
    assert left_behind(urls) == {}


def test_a_map_that_was_changed_meanwhile_is_not_overwritten(
    reshard: Reshard, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reshard.run()
    newest = maps.newest

    def stale(nodes: Any) -> ShardMap:
        found = newest(nodes)
        with psycopg.connect(urls["s0"], autocommit=True) as connection:
            connection.execute("UPDATE escala.shard SET epoch = epoch + 1")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(maps, "newest", stale)
        with pytest.raises(CannotReshard, match="s0 -> s2"):
            reshard.cutover()
    assert reshard.status()[0].state == "ready"


def test_writers_are_slowed_down_while_the_lag_does_not_shrink(
    reshard: Reshard, urls: dict[str, str]
) -> None:
    reshard.run()
    nodes = {name: Node(name, url) for name, url in urls.items()}
    (pair, _) = reshard._movers(_job(nodes), nodes)
    stream = pair.there()
    stream.subscriber.rows(f"ALTER SUBSCRIPTION {stream.name} DISABLE")
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if len(told) == 3:
            stream.start()

    with psycopg.connect(urls["s0"], autocommit=True) as connection:
        asked = "SELECT throttle FROM escala.shard"
        with caught_up(stream, 0.05, tell):
            pass
        assert connection.execute(asked.encode()).fetchone() == (0.0,)
    assert "writers wait 1 ms" in told[0]
    assert "writers wait 2 ms" in told[1]
    for node in nodes.values():
        node.close()
    reshard.abort()


def _job(nodes: dict[str, Node]) -> Any:
    from escala.databases.resharding.job import job_on

    job = job_on(nodes.values())
    assert job is not None
    return job


def test_a_slot_that_is_lost_is_said(reshard: Reshard, urls: dict[str, str]) -> None:
    reshard.run()
    nodes = {name: Node(name, url) for name, url in urls.items()}
    (mover, _) = reshard._movers(_job(nodes), nodes)
    stream = mover.there()
    stream.stop(now() + 10)
    wait_until(
        lambda: (
            not stream.publisher.value(
                "SELECT active FROM pg_replication_slots WHERE slot_name = %s", (stream.name,)
            )
        ),
        now() + 10,
        "the sender to end",
    )
    stream.publisher.rows("SELECT pg_drop_replication_slot(%s)", (stream.name,))
    with pytest.raises(CannotReshard, match="has lost the replication slot"):
        stream.make(copy=True)
    for node in nodes.values():
        node.close()
    reshard.abort()
    assert left_behind(urls) == {}


def _two_at_once(reshard: Reshard, urls: dict[str, str]) -> None:
    from escala.databases.resharding import reshard as module

    node = Node("s1", urls["s1"])
    node.rows(f"SELECT pg_advisory_lock({module._JOB_LOCK})")
    try:
        reshard.run()
    finally:
        node.close()


def test_one_coordinator_at_a_time(
    reshard: Reshard, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from escala.databases.resharding import reshard as module

    monkeypatch.setattr(module, "_PREDECESSOR", 0.1)
    with pytest.raises(CannotReshard, match="another coordinator is at work on s1"):
        _two_at_once(reshard, urls)


def test_another_goal_is_refused_while_a_move_is_under_way(
    reshard: Reshard, urls: dict[str, str]
) -> None:
    reshard.run()
    other = Reshard(urls, tables={"orders": "tenant_id"}, to=MAP.with_shards(["s0", "s2"]))
    with pytest.raises(CannotReshard, match="another move is under way"):
        other.run()
    with pytest.raises(CannotReshard, match="under way already"):
        other.plan()
    reshard.abort()
    with pytest.raises(CannotReshard, match="cutover: no move is under way"):
        reshard.cutover()


_ALTER = "ALTER TABLE orders "
WRONG: dict[str, tuple[str, str, str]] = {
    "no primary key": (
        "s0",
        _ALTER + "DROP CONSTRAINT orders_pkey",
        "s0: .*a primary key",
    ),
    "another column": ("s2", _ALTER + "ADD extra int", "other columns on s0 than on s2: extra"),
    "another type": ("s2", _ALTER + "ALTER amount TYPE bigint", "than on s2: amount"),
    "no table": ("s2", "DROP TABLE orders", "s2: there is no table orders"),
    "no key": ("s0", _ALTER + "RENAME tenant_id TO tenant", "expected the shard key"),
    "rows": (
        "s2",
        "INSERT INTO orders SELECT n, 't'||n, 1 FROM generate_series(1, 50) n",
        "has rows",
    ),
    "unlogged": ("s2", _ALTER + "SET UNLOGGED", "s2: .*expected a plain table"),
    "key type": ("s0", _ALTER + "ALTER tenant_id TYPE name", "key column of type"),
    "a trigger that always fires": (
        "s2",
        "CREATE TRIGGER each BEFORE INSERT ON orders FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger(); "
        + _ALTER
        + "ENABLE ALWAYS TRIGGER each",
        "s2: .*each would fire for rows that are copied",
    ),
    "another primary key": (
        "s2",
        _ALTER + "DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (id, tenant_id)",
        "another primary key",
    ),
}


@pytest.mark.parametrize("wrong", WRONG, ids=[name.replace(" ", "-") for name in WRONG])
def test_what_cannot_be_moved_is_refused_before_anything_is_touched(
    reshard: Reshard, urls: dict[str, str], wrong: str
) -> None:
    shard, sql, why = WRONG[wrong]
    with psycopg.connect(urls[shard], autocommit=True) as connection:
        connection.execute(sql.encode())
        if wrong == "key type":
            with psycopg.connect(urls["s2"], autocommit=True) as other:
                other.execute(sql.encode())
    with pytest.raises(CannotReshard, match=why):
        reshard.run()
    assert reshard.current_map() == MAP
    assert {each: rows for each, rows in left_behind(urls).items() if "orders" not in each} == {}


def test_reference_tables_have_to_be_the_same(urls: dict[str, str]) -> None:
    for number, url in enumerate(urls.values()):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS public.countries (id int PRIMARY KEY)")
            connection.execute("DELETE FROM countries")
            if number < 2:
                connection.execute("INSERT INTO countries VALUES (1)")
    both = Reshard(urls, tables={"orders": "tenant_id"}, reference=["countries"], to=GOAL)
    assert any("countries: expected a reference table" in each for each in both.plan().problems)


def test_numbers_from_a_sequence_are_warned_of(reshard: Reshard, urls: dict[str, str]) -> None:
    for url in urls.values():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_ALTER + "ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    assert "id come from a sequence" in reshard.plan().warnings[0]


def test_rows_that_would_come_apart_are_warned_of(reshard: Reshard, urls: dict[str, str]) -> None:
    with psycopg.connect(urls["s0"], autocommit=True) as connection:
        connection.execute("CREATE TABLE lines (id int PRIMARY KEY, of_order bigint)")
        try:
            assert reshard.plan().warnings == []
            connection.execute("ALTER TABLE lines ADD FOREIGN KEY (of_order) REFERENCES orders")
            assert "lines refers to orders" in reshard.plan().warnings[0]
        finally:
            connection.execute("DROP TABLE lines")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda urls: {**urls, "s0": urls["s1"], "s1": urls["s0"]},
            "the shard 's0', found",
        ),
        (lambda urls: {**urls, "s2": urls["s2"].replace("/postgres", "/template1")}, "s2: no map"),
        (
            lambda urls: {**urls, "s2": "postgresql://escala@127.0.0.1:1/no"},
            "s2 does not answer.*refused",
        ),
    ],
    ids=["swapped", "not-installed", "away"],
)
def test_the_wrong_servers(
    urls: dict[str, str], change: Callable[[dict[str, str]], dict[str, str]], why: str
) -> None:
    wrong = Reshard(change(urls), tables={"orders": "tenant_id"}, to=GOAL)
    with pytest.raises(CannotReshard, match=why):
        wrong.plan()


def test_a_server_that_is_not_set_up_for_it(urls: dict[str, str]) -> None:
    few: dict[str, str | int] = {"wal_level": "replica", "max_replication_slots": 1}
    with shard_servers("s2", settings=few) as other:
        there = {**urls, "s2": other["s2"].url}
        with psycopg.connect(there["s2"], autocommit=True) as connection:
            connection.execute(TABLE.encode())
        from sqlalchemy import create_engine

        from escala.databases.sharding.shard_server import install

        engine = create_engine(there["s2"].replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as begun:
            install(begun, "s2", MAP)
            begun.exec_driver_sql("CREATE ROLE plain LOGIN")
            begun.exec_driver_sql("GRANT USAGE ON SCHEMA escala TO plain")
            begun.exec_driver_sql("GRANT ALL ON ALL TABLES IN SCHEMA escala, public TO plain")
        engine.dispose()
        problems = Reshard(there, tables={"orders": "tenant_id"}, to=GOAL).plan().problems
        there["s2"] = there["s2"].replace("escala@", "plain@")
        problems += Reshard(there, tables={"orders": "tenant_id"}, to=GOAL).plan().problems
    assert any("s2: expected wal_level=logical, found replica" in each for each in problems)
    assert any("s2: expected 3 to be free of max_replication_slots" in each for each in problems)
    assert any("s2: expected a superuser" in each for each in problems)


def test_wrong_arguments() -> None:
    urls = {"s0": "postgresql://a/b"}
    with pytest.raises(ConfigError, match="s0: expected a 'postgresql://' URL"):
        Reshard({"s0": "sqlite:///x"}, tables={"orders": "tenant_id"})
    with pytest.raises(ConfigError, match="tables: expected the sharded tables"):
        Reshard(urls, tables={})
    with pytest.raises(ConfigError, match="max_pause: expected 10 ms or more, found 0"):
        Reshard(urls, tables={"orders": "tenant_id"}, max_pause=0)
    with pytest.raises(ConfigError, match=r"s0: .*nonsense"):
        Reshard({"s0": "postgresql://a/b?nonsense=1"}, tables={"orders": "tenant_id"}).status()
    with pytest.raises(ConfigError, match="max_pause: "):
        Reshard(urls, tables={"orders": "tenant_id"}, max_pause="soon")


def test_the_command_line(
    urls: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, url in urls.items():
        monkeypatch.setenv(name.upper(), url)
    file = tmp_path / "shards.yaml"
    file.write_text(
        "shards: {s0: '${S0}', s1: '${S1}', s2: '${S2}'}\ntables: {orders: tenant_id}\n"
    )

    def said(*arguments: str) -> tuple[int, Any, str]:
        code = main(["reshard", *arguments])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments else out, err

    assert said("status", str(file)) == (0, "no move is under way\n", "")
    code, plan, _ = said("plan", str(file), "--json")
    assert (code, [pair["target"] for pair in plan["pairs"]]) == (0, ["s2", "s2"])
    code, out, err = said("run", str(file))
    assert code == 0
    assert "s0 -> s2: ready" in out
    assert "next: escala reshard cutover" in out
    assert "s1 -> s2: copying" in err
    assert said("complete", str(file))[0] == 1
    code, pairs, _ = said("cutover", str(file), "--json", "--max-pause", "1s")
    assert code == 0
    assert all(len(pair["pauses"]) == 1 for pair in pairs)
    code, out, _ = said("complete", str(file))
    assert (code, out.count("done")) == (0, 2)
    assert left_behind(urls) == {}
    assert said("plan", str(file))[0] == 1, "nothing has to move"
    assert said("plan", str(file), "--to", "s9")[0] == 2
    assert said("plan", "--shard", "s0")[0] == 2
    file.write_text("shards: {}\ntable: {}\n")
    code, _, err = said("plan", str(file))
    assert code == 2
    assert "shards.yaml:2:1: table: expected one of the fields" in err


def test_one_tenant_moves_alone(urls: dict[str, str]) -> None:
    found = orders(urls, MAP)
    tenant = next(f"t{number}" for number in range(TENANTS) if MAP.shard(f"t{number}") == "s0")
    pinned = MAP.with_shards(["s0", "s1"]).pin(tenant, "s1")
    reshard = Reshard(urls, tables={"orders": "tenant_id"}, to=pinned)
    assert [(pair.keys, pair.slots) for pair in reshard.plan().pairs] == [(1, 0)]
    reshard.run()
    number = next(number for number, row in found.items() if row[0] == tenant)
    write(urls["s0"], "s0", "UPDATE orders SET amount = 5 WHERE id = %s", number)
    found[number] = (tenant, 5)
    reshard.cutover()
    reshard.complete()
    now = reshard.current_map()
    assert now.shard(tenant) == "s1"
    assert orders(urls, now) == found
    assert left_behind(urls) == {}
    # From then on it stays, though its slot goes.
    further = Reshard(urls, tables={"orders": "tenant_id"}, to=now.with_shards(["s1", "s2"]))
    further.run()
    further.cutover()
    further.complete()
    assert further.current_map().shard(tenant) == "s1"
    assert orders(urls, further.current_map()) == found


OTHERS = {
    "range": (
        ShardMap.range({"s0": (None, "m"), "s1": ("m", None)}, key="tenant_id"),
        ShardMap.range({"s0": (None, "k"), "s1": ("k", None)}, key="tenant_id"),
        "expected a map by slots",
    ),
    "xxh3": (
        ShardMap.slots(["s0", "s1"], key="tenant_id", hash="xxh3"),
        ShardMap.slots(["s0", "s1"], key="tenant_id", hash="xxh3").with_shards(["s0", "s1", "s2"]),
        "PostgreSQL has no hash 'xxh3'",
    ),
    "directory": (
        ShardMap.directory({"a": "s0", "b": "s1"}, key="tenant_id"),
        ShardMap.directory({"a": "s1", "b": "s1"}, key="tenant_id"),
        "expected a map by slots",
    ),
    "pins and slots": (MAP, GOAL.pin("t1", "s1").pin("t0", "s0").pin("t2", "s1"), "two jobs"),
}


@pytest.mark.parametrize("kind", OTHERS, ids=[name.replace(" ", "-") for name in OTHERS])
def test_maps_that_cannot_be_moved(urls: dict[str, str], kind: str) -> None:
    now, goal, why = OTHERS[kind]
    for url in urls.values():
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("UPDATE escala.shard SET map = %s", (now.to_json(),))
    problems = Reshard(urls, tables={"orders": "tenant_id"}, to=goal).plan().problems
    assert any(why in problem for problem in problems), problems


def test_threads_are_all_done() -> None:
    assert not [each for each in threading.enumerate() if "Executor" in each.name]

"""Limits in a real PostgreSQL: one round trip, the server's clock, and no endless silence."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tests.contracts.ledger_contract import LedgerContract, Open
from tests.servers.postgres_server import PostgresServer, postgres_server

from escala import Deadline, FixedWindow, TokenBucket
from escala.errors import ConfigError, DeadlineExceeded, StoreUnavailable, WouldBlock
from escala.kernel.runtime import colours, drive
from escala.limiting import postgres_function
from escala.limiting.ledger import open_ledger
from escala.limiting.plan import Limit, Plan
from escala.limiting.postgres_ledger import PostgresLedger
from escala.limiting.pure.gcra import SLACK
from escala.limiting.pure.row import RowForm

pytestmark = [pytest.mark.live, pytest.mark.xdist_group("postgres")]

NOW = "extract(epoch FROM clock_timestamp()) - 1767225600"
RULES = {"token_bucket": "bucket"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name


def plan(algorithm: str, name: str, *counts_and_periods: tuple[int, float]) -> Plan:
    limits = [
        Limit(text=f"{n}/{period:g}s", count=n, period=period, burst=n, rate=n / period)
        for n, period in counts_and_periods
    ]
    return Plan(algorithm=algorithm, limits=tuple(limits), name=name)


class TestPostgresLedger(LedgerContract):
    algorithms = ("token_bucket", "leaky_bucket", "sliding_window_counter", "fixed_window")

    @pytest.fixture
    def opened(self, server: PostgresServer) -> Open:
        with psycopg.connect(server.url, autocommit=True) as link:
            link.execute("DROP SCHEMA IF EXISTS contract CASCADE")
            link.execute("CREATE SCHEMA contract")
        url = f"{server.url}?options=-csearch_path%3Dcontract"
        return lambda plan: open_ledger(url, plan)


def test_two_objects_count_together(server: PostgresServer, name: str) -> None:
    one, two = (TokenBucket("2/h", store=server.url, name=name) for _ in range(2))
    assert one.acquire("ann")
    assert two.acquire("ann").remaining == 0
    refused = one.acquire("ann")
    assert not refused
    assert refused.retry_after == pytest.approx(1800, abs=2)
    one.refund("ann")
    assert two.peek("ann").remaining == 1
    two.reset("ann")
    assert one.peek("ann").remaining == 2
    assert one.peek("bob").remaining == 2
    one.close()
    one.close()
    assert one.acquire("bob"), "closed connections are opened again"
    two.close()


def test_all_limits_are_checked_then_all_are_charged(server: PostgresServer, name: str) -> None:
    limiter = TokenBucket("10/s; 1000/h", burst=10, store=server.url, name=name)

    async def main() -> list[Any]:
        return await asyncio.gather(*[limiter.aacquire() for _ in range(1000)])

    begun = time.monotonic()
    granted = sum(decision.allowed for decision in asyncio.run(main()))
    assert 10 <= granted <= 10 + 10 * (time.monotonic() - begun) + 1
    assert limiter.peek().each[1][0] == 1000 - granted
    limiter.close()


def test_threads_and_tasks_share_the_connections(server: PostgresServer, name: str) -> None:
    limiter = TokenBucket("50/h", store=server.url, name=name)
    granted: list[bool] = []

    def ask() -> None:
        granted.extend(limiter.acquire().allowed for _ in range(20))

    async def tasks() -> None:
        answers = await asyncio.gather(*[limiter.aacquire() for _ in range(80)])
        granted.extend(decision.allowed for decision in answers)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(tasks())
    for thread in threads:
        thread.join()
    assert (len(granted), sum(granted)) == (160, 50)
    limiter.close()


def test_those_who_wait_get_places_in_order(server: PostgresServer, name: str) -> None:
    limiter = TokenBucket("100/s", burst=1, wait=2, store=server.url, name=name)
    gone: list[int] = []

    async def one(number: int) -> None:
        if await limiter.aacquire():
            gone.append(number)

    async def main() -> None:
        await limiter.aacquire()
        tasks = [asyncio.ensure_future(one(number)) for number in range(30)]
        await asyncio.sleep(0.1)
        for task in tasks[-10:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    begun = time.monotonic()
    asyncio.run(main())
    assert 0.19 <= time.monotonic() - begun <= 0.45
    assert len(gone) == 20
    assert sum(limiter.acquire(wait=0.13).allowed for _ in range(10)) == 10, "no place is lost"
    limiter.close()


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window_counter"])
@pytest.mark.parametrize("limits", [[(3, 1.0)], [(3, 1.0), (7, 10.0)]], ids=["one", "two"])
def test_the_function_decides_as_the_machines_do(
    server: PostgresServer, name: str, algorithm: str, limits: list[tuple[int, float]]
) -> None:
    """In a schema of its own, where the function reads its clock from a setting."""
    promised = plan(algorithm, name, *limits)
    form, draw = RowForm(promised, "PostgreSQL"), random.Random(name)
    rule = RULES.get(algorithm, algorithm)
    rest = (
        [float(each) for each in form.fresh],
        [float(n) for n, _ in limits],
        [n / period for n, period in limits],
        [period for _, period in limits],
    )
    assert NOW in postgres_function.SCHEMA
    schema = postgres_function.SCHEMA.replace(NOW, "current_setting('test.now')::float8")
    schema = schema.replace("escala_limit_1(bytea", "mine.escala_limit_1(bytea")
    with psycopg.connect(server.url, autocommit=True) as link:
        link.execute("DROP SCHEMA IF EXISTS mine CASCADE")
        link.execute("CREATE SCHEMA mine")
        link.execute("SET search_path = mine")
        link.execute(schema)
        now, numbers = 1000.0, form.fresh
        for _ in range(300):
            now += draw.choice([0.0, 0.1, 0.25, 1.0, 7.0])
            cost, wait = draw.randint(1, 3), draw.choice([0.0, 0.4])
            row = form.row(numbers)
            if draw.random() < 0.2:
                cost = -cost
                row.give_back(-cost, now)
                expected = None
            else:
                decision, ahead = row.take(cost, now, wait if form.reserves else 0.0)
                expected = (decision.allowed, ahead)
            numbers = row.numbers
            link.execute("SELECT set_config('test.now', %s, false)", [repr(now)])
            asked = (b"k", rule, *rest, cost, wait if form.reserves else 0.0, b"")
            places = ", ".join(["%s"] * len(asked))
            found = link.execute(f"SELECT * FROM escala_limit_1({places})", asked).fetchone()  # noqa: S608
            assert found is not None
            if expected is not None:
                assert found[1] == expected[0]
                assert found[2] == pytest.approx(expected[1], abs=1e-9)
                assert found[0] == now
            told = form.row(numbers).peek(now)
            if found[3] is not None:
                assert form.row(found[3]).peek(now).standings == told.standings


@pytest.mark.parametrize("algorithm", ["token_bucket", "fixed_window", "sliding_window_counter"])
def test_a_server_whose_clock_is_set_back_an_hour_goes_on_as_before(
    server: PostgresServer, name: str, algorithm: str
) -> None:
    promised = plan(algorithm, name, (2, 10.0))
    ledger = PostgresLedger(server.url, promised)
    assert [drive(ledger.take("k", 1, colours.thread))[0].allowed for _ in range(3)] == [1, 1, 0]
    with psycopg.connect(server.url, autocommit=True) as link:
        change = {
            "token_bucket": "ARRAY[numbers[1] + 720]",
            "fixed_window": "ARRAY[numbers[1] + 3600, numbers[2]]",
            "sliding_window_counter": "ARRAY[numbers[1] + 360, numbers[2], numbers[3]]",
        }
        link.execute(f"UPDATE escala_limits SET seen = seen + 3600, numbers = {change[algorithm]}")  # noqa: S608
    refused, _ = drive(ledger.take("k", 1, colours.thread))
    assert not refused
    assert 0 < refused.retry_after <= 20
    ledger.close()


def test_rows_of_full_limits_are_cleared_away(server: PostgresServer, name: str) -> None:
    limiter = TokenBucket("500/s", burst=1, store=server.url, name=name)
    for number in range(300):
        limiter.acquire(f"visitor {number}")
    with psycopg.connect(server.url) as link:
        query = "SELECT count(*) FROM escala_limits WHERE position(%s::bytea IN key) = 1"
        found = link.execute(query, [f"{name}:".encode()]).fetchone()
    assert found is not None
    assert found[0] < 100
    limiter.close()


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "é" * 64, "x" * 1_000_000, b"\xff", "'; --"])
def test_any_key(server: PostgresServer, key: Any) -> None:
    limiter = FixedWindow("1/h", store=server.url, name=f"keys {key!r:.20}")
    assert [limiter.acquire(key).allowed for _ in range(2)] == [True, False]
    limiter.close()


def test_many_first_connections_make_one_function(server: PostgresServer, name: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as link:
        link.execute("DROP SCHEMA IF EXISTS fresh CASCADE")
        link.execute("CREATE SCHEMA fresh")
    url = f"{server.url}?options=-csearch_path%3Dfresh"
    limiters = [TokenBucket("1/h", store=url, name=name) for _ in range(16)]

    async def main() -> list[Any]:
        return await asyncio.gather(*[limiter.aacquire() for limiter in limiters])

    assert sum(decision.allowed for decision in asyncio.run(main())) == 1
    for limiter in limiters:
        limiter.close()


def test_the_slack_is_the_machines() -> None:
    assert f"{SLACK:f}" == "0.000001"
    assert postgres_function.SCHEMA.count("0.000001") == 2


def test_a_sync_call_in_a_loop_is_refused(server: PostgresServer) -> None:
    limiter = TokenBucket("1/s", store=server.url)

    async def main() -> None:
        with pytest.raises(WouldBlock):
            limiter.acquire()

    asyncio.run(main())
    limiter.close()


def test_a_role_that_may_not_create(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as link:
        link.execute("CREATE ROLE poor LOGIN")
    url = server.url.replace("escala@", "poor@").replace("/postgres", "/template1")
    ledger = PostgresLedger(url, plan("token_bucket", "poor", (1, 1.0)))
    with pytest.raises(StoreUnavailable, match=r"permission denied for schema public"):
        drive(ledger.take("k", 1, colours.thread))
    ledger.close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmode=maybe", 'invalid sslmode value: "maybe"'),
        ("sslnegotiation=direct", 'weak sslmode "prefer" may not be used with sslnegotiation'),
        ("target_session_attrs=any&channel_binding=x", 'invalid channel_binding value: "x"'),
        ("ssl=maybe", "invalid URI query parameter"),
        ("port=no", "port: expected a whole number from 1 to 65535, found 'no'"),
        ("port=5432,70000", "port: expected a whole number from 1 to 65535, found '70000'"),
        ("connect_timeout=soon", "connect_timeout: expected a whole number, found 'soon'"),
        ("keepalives_idle=1.5", "keepalives_idle: expected a whole number, found '1.5'"),
        ("sslmode=require&sslmode=disable", "sslmode: expected it once, found it twice"),
        ("sslmod=require", "sslkey, sslkeylogfile, sslmode, "),
        ("sslmod=require", "; found 'sslmod' (did you mean 'sslmode'?)"),
        ("node=2", "lease, "),
        ("node=2", "; found 'node' (did you mean 'nodes'?)"),
        ("connect_timeout=", "connect_timeout: expected a whole number, found ''"),
        ("connections=0", "connections: expected a whole number from 1 to 1000, found '0'"),
        ("connections=1001", "connections: expected a whole number from 1 to 1000, found '1001'"),
        ("connection=2", "connect_timeout, connections, "),
    ],
)
def test_a_parameter_that_is_wrong(query: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TokenBucket("1/s", store=f"postgresql://me:secret@host/db?{query}")
    assert str(caught.value).startswith("rate_limit: store: ")
    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(("query", "most"), [("", 8), ("?connections=2", 2)])
def test_no_more_connections_than_are_allowed(
    server: PostgresServer, name: str, query: str, most: int
) -> None:
    with psycopg.connect(server.url, autocommit=True) as link:
        link.execute(f"CREATE ROLE few{most} LOGIN SUPERUSER")
    url = server.url.replace("escala@", f"few{most}@")
    limiter = TokenBucket("1000000/s", store=url + query, name=name)
    away: list[bool] = []

    def ask() -> None:
        away.extend(limiter.acquire().away for _ in range(40))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    used = 0
    with psycopg.connect(server.url, autocommit=True) as link:
        while any(thread.is_alive() for thread in threads):
            count = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
            row = link.execute(count, [f"few{most}"]).fetchone()
            assert row is not None
            used = max(used, row[0])
    assert used <= most
    assert away == [False] * 640
    limiter.close()


def test_what_libpq_knows_is_passed_on(server: PostgresServer) -> None:
    query = "application_name=shop&connect_timeout=3&sslmode=prefer&nodes=2&keepalives=1"
    limiter = TokenBucket("1/s", store=f"{server.url}?{query}")
    other = TokenBucket("1/s", store=server.url)
    try:
        assert not limiter.acquire().away
        assert not other.acquire().away
        with psycopg.connect(server.url, autocommit=True) as link:
            rows = link.execute("SELECT application_name FROM pg_stat_activity").fetchall()
        assert {("shop",), ("escala",)} <= set(rows)
    finally:
        limiter.close()
        other.close()


def test_a_password_with_a_slash_is_not_shown_as_a_port() -> None:
    with pytest.raises(ConfigError) as caught:
        TokenBucket("1/s", store="postgresql://me:se/cret@host/db")
    assert str(caught.value).endswith(
        "port: expected a number, found text: write '/' as %2F in a password"
    )


def test_wrong_urls_say_what_is_expected_and_no_password() -> None:
    with pytest.raises(ConfigError) as caught:
        TokenBucket("1/s", store="postgresql://me:secret@host/%zz")
    assert str(caught.value).startswith(
        "rate_limit: store: expected a URL such as 'postgresql://user@localhost:5432/app', found "
    )
    assert "secret" not in str(caught.value)


def test_no_one_listens() -> None:
    ledger = PostgresLedger(
        "postgresql://me:secret@127.0.0.1:1/db", plan("token_bucket", "n", (1, 1.0))
    )
    with pytest.raises(StoreUnavailable, match=r"postgresql://\*\*\*@127.0.0.1:1/db: .*refused"):
        drive(ledger.take("k", 1, colours.thread))


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server that a test may harm."""
    with postgres_server() as running:
        yield running


def test_a_server_that_is_killed_and_comes_back(own: PostgresServer) -> None:
    ledger = PostgresLedger(own.url, plan("token_bucket", "n", (1000, 1.0)))
    thread = colours.thread
    assert drive(ledger.take("k", 1, thread))[0].allowed
    own.kill()
    for _ in range(3):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            drive(ledger.take("k", 1, thread))
        assert time.monotonic() - begun < 0.7
    own.start()
    assert drive(ledger.take("k", 1, thread))[0].allowed
    own.stop()
    own.start()
    assert drive(ledger.take("k", 1, thread))[0].allowed, (
        "an idle connection that ended is no error"
    )
    ledger.close()


def test_a_table_that_someone_drops_is_made_again(own: PostgresServer) -> None:
    ledger = PostgresLedger(own.url, plan("token_bucket", "a", (9, 3600.0)))
    threads = [
        threading.Thread(target=lambda: drive(ledger.take("k", 1, colours.thread)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(own.url, autocommit=True) as link:
        link.execute("DROP TABLE escala_limits CASCADE")
    with pytest.raises(StoreUnavailable, match='relation "escala_limits" does not exist'):
        drive(ledger.take("k", 1, colours.thread))
    assert drive(ledger.take("k", 1, colours.thread))[0].remaining == 8
    ledger.close()


def test_a_primary_that_has_become_a_standby_is_left(own: PostgresServer) -> None:
    ledger = PostgresLedger(own.url, plan("token_bucket", "a", (9, 3600.0)))
    drive(ledger.take("k", 1, colours.thread))
    ((_, connection),) = ledger._link._idle
    connection.exec_(b"SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="read-only transaction"):
        drive(ledger.take("k", 1, colours.thread))
    assert drive(ledger.take("k", 1, colours.thread))[0].remaining == 7
    ledger.close()


def test_callers_in_a_hurry_do_not_make_the_store_away(own: PostgresServer) -> None:
    limiter = TokenBucket("9/s", store=own.url)
    assert not limiter.acquire().away
    own.freeze()
    try:
        for _ in range(5):
            with pytest.raises(DeadlineExceeded):
                Deadline("20ms").call(limiter.acquire)
            with pytest.raises(DeadlineExceeded):
                asyncio.run(Deadline("20ms").acall(limiter.aacquire))
    finally:
        own.freeze(signal.SIGCONT)
    assert not limiter.acquire().away
    assert limiter.snapshot() == {"store_away": 0.0, "without_store": 0.0}
    limiter.close()


def test_a_server_that_is_silent_costs_half_a_second(own: PostgresServer) -> None:
    ledger = PostgresLedger(own.url, plan("token_bucket", "n", (9, 1.0)))
    drive(ledger.take("k", 1, colours.thread))
    own.freeze()
    try:
        begun = time.monotonic()
        for _ in range(2):  # with a connection, and without one
            with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
                drive(ledger.take("k", 1, colours.thread))
        assert 0.99 <= time.monotonic() - begun < 1.3

        async def main() -> None:
            answers = [ledger.take("k", 1, colours.loop) for _ in range(20)]
            for error in await asyncio.gather(*answers, return_exceptions=True):
                assert isinstance(error, StoreUnavailable)

        begun = time.monotonic()
        asyncio.run(main())
        assert time.monotonic() - begun < 1.3
    finally:
        own.freeze(signal.SIGCONT)
    assert drive(ledger.take("k", 1, colours.thread))
    ledger.close()


def test_a_cancelled_question_takes_its_connection_with_it(own: PostgresServer) -> None:
    ledger = PostgresLedger(own.url, plan("token_bucket", "n", (9, 3600.0)))

    async def main() -> None:
        await ledger.take("k", 1, colours.loop)
        own.freeze()
        asked = asyncio.ensure_future(ledger.take("k", 1, colours.loop))
        await asyncio.sleep(0.05)
        asked.cancel()
        own.freeze(signal.SIGCONT)
        with pytest.raises(asyncio.CancelledError):
            await asked
        decision, _ = await ledger.take("other", 1, colours.loop)
        assert decision.remaining == 8, "no answer of another's question"

    asyncio.run(main())
    ledger.close()


def test_a_forked_child_connects_for_itself(
    server: PostgresServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = PostgresLedger(server.url, plan("token_bucket", name, (9, 3600.0)))
    drive(ledger.take("k", 1, colours.thread))
    ((_, parents),) = ledger._link._idle
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        drive(ledger.take("k", 1, colours.thread))
        ((_, childs),) = ledger._link._idle
        assert childs is not parents
    assert parents.socket > 0, "still open, as it is the parent's"
    parents.finish()
    childs.finish()

"""Limits in an SQLite file: one machine's processes count together."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.limiting.limiters import alone

from escala import FixedWindow, SlidingWindowCounter, TokenBucket
from escala.errors import ConfigError, DeadlineExceeded, StoreUnavailable, WouldBlock
from escala.kernel.context import restore, shorten
from escala.kernel.runtime import colours, drive
from escala.limiting.plan import Limit, Plan
from escala.limiting.sqlite_ledger import SqliteLedger
from escala.testing import VirtualRuntime

PLAN = Plan(
    algorithm="token_bucket",
    name="api",
    limits=(Limit(text="2/s", count=2, period=1.0, burst=2, rate=2.0),),
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/limits.db"


def rows(url: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
        found = file.execute("SELECT key FROM escala_limits ORDER BY key").fetchall()
    file.close()
    return found


def locked(url: str) -> sqlite3.Connection:
    """Another program that began a transaction and takes its time."""
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_two_objects_count_together(url: str) -> None:
    with alone() as thread:
        one, two = (TokenBucket("2/s", store=url) for _ in range(2))
        assert one.acquire("ann")
        assert two.acquire("ann").remaining == 0
        refused = one.acquire("ann")
        assert not refused
        assert refused.retry_after == 0.5
        assert two.acquire("bob")
        thread.time += 0.5
        assert two.acquire("ann")
        one.refund("ann")
        assert two.peek("ann").remaining == 1
        two.reset("ann")
        assert one.peek("ann").remaining == 2
        one.close()
        one.close()
        assert one.acquire("ann"), "a closed file is opened again"


def test_all_limits_are_checked_then_all_are_charged(url: str) -> None:
    with alone():
        limiter = TokenBucket("10/s; 1000/h", store=url)
        assert sum(limiter.acquire().allowed for _ in range(3000)) == 10
        assert limiter.peek().each[1][0] == 990


def test_those_who_wait_are_served_in_order_and_one_who_leaves_gives_back(
    url: str, world: VirtualRuntime
) -> None:
    limiter, served = TokenBucket("100/s", burst=1, wait=1, store=url), []

    async def one(number: int) -> None:
        await limiter.aacquire()
        served.append((number, round(world.now(), 6)))

    async def main() -> None:
        tasks = []
        for number in range(4):
            tasks.append(asyncio.ensure_future(one(number)))
            await world.sleep(0)
        tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == [(0, 0.0), (1, 0.01), (2, 0.02)]
        assert (await limiter.apeek()).retry_after == pytest.approx(0.01)

    world.run(main())
    limiter.close()


@pytest.mark.parametrize("make", [FixedWindow, SlidingWindowCounter])
def test_windows_are_waited_for(make: Any, url: str) -> None:
    with alone() as thread:
        limiter = make("2/s", store=url)
        assert [limiter.acquire("ann").allowed for _ in range(3)] == [True, True, False]
        assert limiter.acquire("ann", wait=2)
        assert 50.5 <= thread.time <= 51.5
        before = thread.time
        thread.time += 10
        assert not make("2/s", store=url, name="two").acquire("ann", cost=2, wait=0).remaining
        assert not limiter.acquire("bob", cost=2).remaining
        assert not limiter.acquire("bob", wait=0.01)
        assert thread.time == before + 10, "a wait that could not succeed is not begun"
        limiter.close()


def test_a_machine_that_starts_again_begins_anew(url: str) -> None:
    with alone() as thread:
        limiter = TokenBucket("2/h", store=url)
        assert [limiter.acquire("ann").allowed for _ in range(3)] == [True, True, False]
        thread.time = 48.999  # its clock counts from the start
        assert limiter.acquire("ann").remaining == 1
        assert not limiter.acquire("ann", cost=2)
        limiter.close()


def test_a_clock_that_is_a_little_behind_forgets_nothing(url: str) -> None:
    with alone() as thread:
        limiter = TokenBucket("2/h", store=url)
        assert [limiter.acquire("ann").allowed for _ in range(2)] == [True, True]
        thread.time -= 1.0
        refused = limiter.acquire("ann")
        assert not refused
        assert refused.reset_after == pytest.approx(3600)
        limiter.close()


def test_keys_whose_limit_is_full_again_are_cleared_away(url: str) -> None:
    with alone() as thread:
        limiter = TokenBucket("2/s", store=url)
        for number in range(200):
            assert limiter.acquire(f"visitor {number}")
            thread.time += 0.1
        assert len(rows(url)) < 20
        limiter.close()


def test_a_refusal_writes_nothing_and_a_peek_makes_no_row(url: str) -> None:
    with alone():
        limiter = TokenBucket("1/h", store=url)
        assert limiter.peek("ann").remaining == 1
        limiter.refund("ann")
        assert rows(url) == []
        limiter.acquire("ann")
        assert not limiter.acquire("ann")
        assert len(rows(url)) == 1
        limiter.close()


@pytest.mark.parametrize(
    "key", ["", "a\0b", "\ud800", "é" * 64, "x" * 1_000_000, b"\xff", (1, "a")]
)
def test_any_key(url: str, key: Any) -> None:
    with alone():
        limiter = TokenBucket("1/s", store=url)
        assert [limiter.acquire(key).allowed for _ in range(2)] == [True, False]
        limiter.close()
    ((stored,),) = rows(url)
    assert len(stored) < 250


def test_another_limit_under_the_same_name_counts_by_itself(url: str) -> None:
    with alone():
        for limiter in (TokenBucket("1/s", store=url), FixedWindow("1/s", store=url)):
            assert limiter.acquire("ann")
            limiter.close()
        with_more = TokenBucket("2/s", store=url)
        assert with_more.acquire("ann").remaining == 1
        with_more.close()


def test_a_lock_is_waited_for_half_a_second(url: str, world: VirtualRuntime) -> None:
    ledger = SqliteLedger(url, PLAN)

    async def main() -> None:
        await ledger.take("ann", 1, world)
        other = locked(url)
        begun = world.now()
        with pytest.raises(StoreUnavailable, match=r"was locked by others for 0\.5 s"):
            await ledger.take("ann", 1, world)
        assert world.now() - begun == pytest.approx(0.5)
        late = asyncio.ensure_future(ledger.take("ann", 1, world))
        await world.sleep(0.2)
        assert not late.done()
        other.rollback()
        other.close()
        assert (await late)[0].allowed

    world.run(main())
    ledger.close()


def test_the_deadline_shortens_the_wait_for_a_lock(url: str, world: VirtualRuntime) -> None:
    ledger = SqliteLedger(url, PLAN)

    async def main() -> None:
        await ledger.take("ann", 1, world)
        other = locked(url)
        begun = world.now()
        with pytest.raises((StoreUnavailable, TimeoutError)):
            await world.race(lambda: ledger.take("ann", 1, world), begun + 0.1)
        assert world.now() - begun == pytest.approx(0.1)
        other.close()

    world.run(main())
    ledger.close()


def test_callers_in_a_hurry_do_not_make_the_store_away(url: str, world: VirtualRuntime) -> None:
    limiter = TokenBucket("9/s", store=url)

    async def main() -> None:
        limiter.acquire()
        other = locked(url)
        for _ in range(5):
            before = shorten(world.now() + 0.1)
            with pytest.raises(DeadlineExceeded, match="time was up before others were done"):
                await limiter.aacquire()
            restore(before)
        other.rollback()
        other.close()
        assert not (await limiter.aacquire()).away
        assert limiter.snapshot() == {"store_away": 0.0, "without_store": 0.0}

    world.run(main())
    limiter.close()


def test_a_sync_call_in_a_loop_waits_for_no_lock(url: str) -> None:
    limiter = TokenBucket("9/s", store=url)

    async def main() -> None:
        assert limiter.acquire(), "one that need not wait just runs"
        other = locked(url)
        with pytest.raises(WouldBlock):
            limiter.acquire()
        other.close()

    asyncio.run(main())
    limiter.close()


def test_what_is_no_sqlite_file_is_said_so_and_then_mended(tmp_path: Path, url: str) -> None:
    file = tmp_path / "limits.db"
    file.write_bytes(b"no database at all, but long enough to look like one" * 10)
    ledger = SqliteLedger(url, PLAN)
    with pytest.raises(StoreUnavailable, match=r"limits\.db: file is not a database"):
        drive(ledger.take("ann", 1, colours.thread))
    file.unlink()
    assert drive(ledger.take("ann", 1, colours.thread))[0].allowed
    ledger.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ledger = SqliteLedger(f"sqlite:///{tmp_path}/none/limits.db", PLAN)
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        drive(ledger.peek("ann", colours.thread))


def test_a_path_may_be_quoted(tmp_path: Path) -> None:
    limiter = TokenBucket("1/s", store=f"sqlite:///{tmp_path}/a%20b.db")
    assert limiter.acquire()
    assert (tmp_path / "a b.db").exists()
    limiter.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://limits.db"])
def test_a_url_without_a_file(url: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a file such as 'sqlite:///limits\.db'"):
        TokenBucket("1/s", store=url)


def test_a_step_that_fails_writes_nothing(url: str) -> None:
    ledger = SqliteLedger(url, PLAN)
    drive(ledger.take("ann", 1, colours.thread))

    def step(file: sqlite3.Connection) -> None:
        file.execute("DELETE FROM escala_limits")
        raise KeyError

    with pytest.raises(KeyError):
        drive(ledger._link.run(step, colours.thread))
    assert len(rows(url)) == 1
    drive(ledger.take("ann", 1, colours.thread))
    ledger.close()


def test_a_forked_child_opens_the_file_for_itself(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = SqliteLedger(url, PLAN)
    drive(ledger.take("ann", 1, colours.thread))
    parents = ledger._link._connection
    assert parents is not None
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert drive(ledger.take("ann", 1, colours.thread))[0].allowed
    assert ledger._link._connection is not parents
    parents.execute("SELECT 1")  # still open, as it is the parent's
    ledger.close()
    parents.close()


def test_eight_threads_get_exactly_what_there_is(url: str) -> None:
    limiter = TokenBucket("50/h", store=url)
    granted: list[bool] = []

    def ask() -> None:
        granted.extend(limiter.acquire().allowed for _ in range(25))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), sum(granted)) == (200, 50)
    limiter.close()

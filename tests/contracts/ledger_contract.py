"""What every `Ledger` keeps to, in both colours, on the real engine.

Put it to use for an engine by a subclass whose name begins with `Test`, in a file
`tests/contracts/test_*_ledger.py`, with a fixture `opened` that opens a ledger for a plan:

    class TestSqliteLedger(LedgerContract):
        algorithms = ("token_bucket", "fixed_window", "sliding_window_counter")

        @pytest.fixture
        def opened(self, tmp_path):
            url = f"sqlite:///{tmp_path}/limits.db"
            return lambda plan: open_ledger(url, plan)

`algorithms` are those that the engine keeps. The fixture's store is empty at the start of a test.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from escala import FixedWindow, LeakyBucket, SlidingWindowCounter, SlidingWindowLog, TokenBucket
from escala.kernel.runtime import Runtime, colours, drive
from escala.limiting import RateLimiter
from escala.limiting.ledger import Ledger
from escala.limiting.plan import Plan

Open = Callable[[Plan], Ledger]
Ask = Callable[[Callable[[Runtime], Awaitable[Any]]], Any]

LIMITERS: dict[str, type[RateLimiter]] = {
    "token_bucket": TokenBucket,
    "leaky_bucket": LeakyBucket,
    "sliding_window_log": SlidingWindowLog,
    "sliding_window_counter": SlidingWindowCounter,
    "fixed_window": FixedWindow,
}
ALL = tuple(LIMITERS)
BUCKETS = ("token_bucket", "leaky_bucket")
ODD_KEYS = ["", " ", "{a}", "a:b", "*", "\r\n", "\0", "ключ", "\ud800", "x" * 99]


def plan(algorithm: str, limit: str, **options: Any) -> Plan:
    """What a limiter of this algorithm with this limit asks of a ledger."""
    make: Any = LIMITERS[algorithm]
    made: Plan = make(limit, **options).plan
    return made


def _as_thread(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.thread)

    return drive(body())


def _as_task(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.loop)

    return asyncio.run(body())


def _take(ledger: Ledger, key: str, cost: int) -> Callable[[Runtime], Awaitable[Any]]:
    return lambda on: ledger.take(key, cost, on)


class LedgerContract:
    """`opened`, which opens a ledger for a plan, is the subclass's fixture."""

    algorithms: ClassVar[tuple[str, ...]] = ALL

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "algorithm" in metafunc.fixturenames:
            metafunc.parametrize("algorithm", self.algorithms)

    @pytest.fixture(params=[_as_thread, _as_task], ids=["sync", "async"])
    def ask(self, request: pytest.FixtureRequest) -> Ask:
        ask: Ask = request.param
        return ask

    def test_as_many_as_the_limit_says(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "3/h"))
        seen = [ask(lambda on: ledger.take("ann", 1, on))[0] for _ in range(5)]
        assert [each.allowed for each in seen] == [True, True, True, False, False]
        assert [each.remaining for each in seen] == [2, 1, 0, 0, 0]
        assert {each.limit for each in seen} == {3}
        assert all(0 < each.reset_after <= 7200 for each in seen)
        assert [each.retry_after for each in seen[:3]] == [0, 0, 0]
        next_in = 1200 if algorithm in BUCKETS else 3600
        if algorithm == "sliding_window_counter":  # one third of them goes with the window
            next_in = 4800
        assert all(0 < each.retry_after <= next_in for each in seen[3:])
        assert all(each.each == () and each.decided_by == 0 for each in seen)
        ledger.close()

    def test_keys_count_apart(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "1/h"))
        for key in ODD_KEYS:
            assert ask(_take(ledger, key, 1))[0].allowed, repr(key)
        for key in ODD_KEYS:
            assert not ask(_take(ledger, key, 1))[0].allowed, repr(key)
        ledger.close()

    def test_all_limits_are_checked_then_all_are_charged(
        self, opened: Open, ask: Ask, algorithm: str
    ) -> None:
        ledger = opened(plan(algorithm, "2/min; 5/h"))
        seen = [ask(lambda on: ledger.take("ann", 1, on))[0] for _ in range(4)]
        assert [each.allowed for each in seen] == [True, True, False, False]
        assert [[left for left, _ in each.each] for each in seen] == [
            [1, 4],
            [0, 3],
            [0, 3],
            [0, 3],
        ]
        assert [each.decided_by for each in seen] == [0, 0, 0, 0]
        assert [each.limit for each in seen] == [2, 2, 2, 2]
        ledger.close()

    def test_the_limit_that_takes_longest_decides(
        self, opened: Open, ask: Ask, algorithm: str
    ) -> None:
        ledger = opened(plan(algorithm, "5/min; 2/h"))
        seen = [ask(lambda on: ledger.take("ann", 1, on))[0] for _ in range(3)]
        assert [each.allowed for each in seen] == [True, True, False]
        assert [each.decided_by for each in seen] == [1, 1, 1]
        assert seen[2].retry_after > 60
        assert seen[2].standings[0][0] == 3
        ledger.close()

    def test_a_cost_is_granted_whole_or_not_at_all(
        self, opened: Open, ask: Ask, algorithm: str
    ) -> None:
        ledger = opened(plan(algorithm, "10/h"))
        seen = [ask(_take(ledger, "ann", cost))[0] for cost in (7, 4, 3)]
        assert [(each.allowed, each.remaining) for each in seen] == [
            (True, 3),
            (False, 3),
            (True, 0),
        ]
        ledger.close()

    def test_a_look_charges_nothing(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "2/h"))
        looks = [ask(lambda on: ledger.peek("ann", on)) for _ in range(3)]
        assert [(each.allowed, each.remaining) for each in looks] == [(True, 2)] * 3
        assert {each.reset_after for each in looks} == {0}
        for _ in range(2):
            ask(lambda on: ledger.take("ann", 1, on))
        look = ask(lambda on: ledger.peek("ann", on))
        assert (look.allowed, look.remaining) == (False, 0)
        assert look.retry_after > 0
        ledger.close()

    def test_a_reset_key_is_as_new(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "2/h; 3/d"))
        ask(lambda on: ledger.reset("ann", on))
        for key in ("ann", "bob"):
            ask(_take(ledger, key, 2))
        ask(lambda on: ledger.reset("ann", on))
        assert ask(lambda on: ledger.peek("ann", on)).standings == ((2, 0.0), (3, 0.0))
        assert not ask(lambda on: ledger.peek("bob", on))
        ledger.close()

    def test_what_is_given_back_can_be_taken(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "5/h"))
        ask(lambda on: ledger.take("ann", 5, on))
        ask(lambda on: ledger.refund("ann", 2, on))
        assert ask(lambda on: ledger.peek("ann", on)).remaining == 2
        seen = [ask(lambda on: ledger.take("ann", 1, on))[0].allowed for _ in range(3)]
        assert seen == [True, True, False]
        ledger.close()

    def test_no_more_is_given_back_than_was_taken(
        self, opened: Open, ask: Ask, algorithm: str
    ) -> None:
        ledger = opened(plan(algorithm, "5/h"))
        ask(lambda on: ledger.refund("ann", 5, on))
        ask(lambda on: ledger.take("ann", 1, on))
        ask(lambda on: ledger.refund("ann", 5, on))
        seen = [ask(lambda on: ledger.take("ann", 1, on))[0].allowed for _ in range(6)]
        assert seen == [True] * 5 + [False]
        ledger.close()

    def test_time_brings_tokens_back(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "1/100ms"))
        assert ask(lambda on: ledger.take("ann", 1, on))[0].allowed
        refused, _ = ask(lambda on: ledger.take("ann", 1, on))
        assert not refused.allowed
        assert 0 < refused.retry_after <= (0.2 if algorithm == "sliding_window_counter" else 0.1)
        time.sleep(refused.retry_after + 0.002)
        assert ask(lambda on: ledger.take("ann", 1, on))[0].allowed
        ledger.close()

    def test_who_waits_gets_a_place(self, opened: Open, ask: Ask, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "1/40ms"))

        async def waits(on: Runtime) -> bool:
            decision, sleep = await ledger.take("ann", 1, on, 2.0)
            await on.sleep(sleep)
            return bool(decision.allowed)

        began = time.monotonic()
        assert all(ask(waits) for _ in range(4))
        took = time.monotonic() - began
        assert 0.115 <= took <= 1.0
        ledger.close()

    def test_a_wait_that_is_too_long_is_not_begun(
        self, opened: Open, ask: Ask, algorithm: str
    ) -> None:
        ledger = opened(plan(algorithm, "1/h"))
        ask(lambda on: ledger.take("ann", 1, on))
        before = ask(lambda on: ledger.peek("ann", on)).retry_after
        began = time.monotonic()
        decision, sleep = ask(lambda on: ledger.take("ann", 1, on, 0.2))
        assert (decision.allowed, sleep) == (False, 0.0)
        assert time.monotonic() - began < 0.15
        assert ask(lambda on: ledger.peek("ann", on)).retry_after <= before
        ledger.close()

    def test_a_strict_limit_holds(self, opened: Open, ask: Ask) -> None:
        ledger = opened(plan("token_bucket", "20/h", strict=True, burst=3))
        seen = [ask(lambda on: ledger.take("ann", 1, on))[0].allowed for _ in range(5)]
        assert seen == [True, True, True, False, False]
        ledger.close()

    def test_two_ledgers_of_one_plan_count_together(
        self, opened: Open, ask: Ask, algorithm: str
    ) -> None:
        one, two = opened(plan(algorithm, "2/h")), opened(plan(algorithm, "2/h"))
        assert ask(lambda on: one.take("ann", 1, on))[0].remaining == 1
        assert ask(lambda on: two.take("ann", 1, on))[0].remaining == 0
        assert not ask(lambda on: one.take("ann", 1, on))[0].allowed
        one.close()
        two.close()

    def test_other_plans_do_not_get_in_the_way(self, opened: Open, ask: Ask) -> None:
        """A rolling change of the algorithm or the limit is no error; it begins anew."""
        plans = [plan(each, "2/h", name="api") for each in self.algorithms if each not in BUCKETS]
        plans += [plan("token_bucket", limit, name="api") for limit in ("2/h", "2/min", "2/h; 2/d")]
        plans.append(plan("token_bucket", "2/h", name="other"))
        for each in plans:
            ledger = opened(each)
            taken = [ask(_take(ledger, "ann", 1))[0] for _ in range(3)]
            assert [one.allowed for one in taken] == [True, True, False], each
            ledger.close()

    def test_threads_take_no_more_than_there_is(self, opened: Open, algorithm: str) -> None:
        ledger, granted = opened(plan(algorithm, "50/h")), []

        def take() -> None:
            for _ in range(15):
                decision, _ = _as_thread(lambda on: ledger.take("ann", 1, on))
                granted.append(decision.allowed)

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(granted), sum(granted)) == (120, 50)
        ledger.close()

    def test_tasks_take_no_more_than_there_is(self, opened: Open, algorithm: str) -> None:
        ledger = opened(plan(algorithm, "50/h"))

        async def all_() -> list[bool]:
            takes = [ledger.take("ann", 1, colours.loop) for _ in range(120)]
            return [decision.allowed for decision, _ in await asyncio.gather(*takes)]

        assert sum(asyncio.run(all_())) == 50
        ledger.close()

    def test_it_can_be_closed_twice(self, opened: Open, ask: Ask) -> None:
        ledger = opened(plan("token_bucket", "2/h"))
        ask(lambda on: ledger.take("ann", 1, on))
        ledger.close()
        ledger.close()

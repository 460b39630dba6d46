"""What a limiter does while its store is away, and how it finds its way back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from tests.limiting.fake_ledger import FakeLedger

from escala import Deadline, FixedWindow, TokenBucket
from escala.errors import RateLimited, StoreUnavailable
from escala.kernel.events import subscribe
from escala.kernel.runtime import Runtime, colours, drive
from escala.limiting.away_ledger import AwayLedger
from escala.limiting.events import LimiterStoreChanged
from escala.testing import VirtualRuntime

Ask = Callable[[Callable[[Runtime], Awaitable[Any]]], Awaitable[Any]]
Away = Literal["local", "open", "closed"]


async def _sync(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    async def body() -> Any:
        return await ask(colours.thread)

    return drive(body())


async def _async(ask: Callable[[Runtime], Awaitable[Any]]) -> Any:
    return await ask(colours.loop)


both = pytest.mark.parametrize("ask", [_sync, _async], ids=["sync", "async"])


def guarded(
    limit: str = "4/s", away: Away = "local", nodes: int | None = None, **options: Any
) -> tuple[AwayLedger, FakeLedger]:
    plan = TokenBucket(limit, name="api", **options).plan
    fake = FakeLedger(plan)
    return AwayLedger(fake, plan, away=away, max_keys=10, nodes=nodes), fake


async def takes(ledger: AwayLedger, ask: Ask, times: int) -> list[tuple[bool, bool]]:
    seen = [(await ask(lambda on: ledger.take("ann", 1, on)))[0] for _ in range(times)]
    return [(each.allowed, each.away) for each in seen]


@both
def test_the_store_decides_while_it_answers(world: VirtualRuntime, ask: Ask) -> None:
    ledger, _ = guarded()

    async def main() -> None:
        assert await takes(ledger, ask, 5) == [(True, False)] * 4 + [(False, False)]
        assert (await ask(lambda on: ledger.peek("ann", on))).away is False
        await ask(lambda on: ledger.reset("ann", on))
        await ask(lambda on: ledger.take("ann", 4, on))
        await ask(lambda on: ledger.refund("ann", 2, on))
        assert (await ask(lambda on: ledger.peek("ann", on))).remaining == 2
        assert ledger.snapshot() == {"store_away": 0.0, "without_store": 0.0}

    world.run(main())


@both
@pytest.mark.parametrize(("nodes", "passes"), [(None, 4), (1, 4), (2, 2), (4, 1)])
def test_local_is_this_process_s_part(
    world: VirtualRuntime, ask: Ask, nodes: int | None, passes: int
) -> None:
    ledger, fake = guarded(nodes=nodes)
    fake.gone = True

    async def main() -> None:
        expected = [(True, True)] * passes + [(False, True)] * (6 - passes)
        assert await takes(ledger, ask, 6) == expected
        assert (await ask(lambda on: ledger.peek("ann", on))).away
        await world.sleep(1.0)
        assert await takes(ledger, ask, 6) == expected

    world.run(main())


def test_the_gateways_workers_are_the_parts_unless_the_url_says_so(world: VirtualRuntime) -> None:
    for nodes, passes in ((None, 2), (4, 1)):
        ledger, fake = guarded(nodes=nodes)
        ledger.divide(2)
        fake.gone = True

        async def main(ledger: AwayLedger = ledger, passes: int = passes) -> None:
            seen = await takes(ledger, _async, 4)
            assert sum(allowed for allowed, _ in seen) == passes

        world.run(main())


@both
def test_after_three_failures_it_is_left_alone_and_asked_once_a_second(
    world: VirtualRuntime, ask: Ask
) -> None:
    ledger, fake = guarded("1000/s")
    fake.gone = True

    async def main() -> None:
        for asked, later in ((3, 0.0), (3, 0.99), (4, 1.01), (4, 1.5), (5, 2.1)):
            await world.sleep(later - (world.now() - began))
            await takes(ledger, ask, 20)
            assert len(fake.asked) == asked

    began = world.now()
    world.run(main())
    assert ledger.snapshot() == {"store_away": 1.0, "without_store": 100.0}


@both
def test_it_is_used_again_with_the_first_answer(world: VirtualRuntime, ask: Ask) -> None:
    ledger, fake = guarded()
    told: list[LimiterStoreChanged] = []
    stop = subscribe(LimiterStoreChanged, told.append)

    async def main() -> None:
        fake.gone = True
        await takes(ledger, ask, 2)
        assert told == [], "two failures may be chance"
        await takes(ledger, ask, 3)
        assert [(event.name, event.away, event.reason) for event in told] == [
            ("api", True, "the store is on holiday")
        ]
        fake.gone = False
        assert await takes(ledger, ask, 1) == [(False, True)]
        await world.sleep(1.0)
        assert await takes(ledger, ask, 2) == [(True, False)] * 2
        assert (told[1].away, told[1].reason) == (False, "the store answers again")
        assert ledger.snapshot()["store_away"] == 0.0

    world.run(main())
    stop()


@both
@pytest.mark.parametrize("away", ["open", "closed"])
def test_open_lets_all_pass_and_closed_none(
    world: VirtualRuntime, ask: Ask, away: Literal["open", "closed"]
) -> None:
    ledger, fake = guarded("4/s; 2/min", away=away)
    fake.gone = True
    allowed = away == "open"

    async def main() -> None:
        assert await takes(ledger, ask, 9) == [(allowed, True)] * 9
        look = await ask(lambda on: ledger.peek("ann", on))
        assert (look.allowed, look.limit, look.decided_by) == (allowed, 2, 1)
        if allowed:
            assert (look.remaining, look.reset_after, look.retry_after) == (2, 0.0, 0.0)
            assert look.each == ((4, 0.0), (2, 0.0))
        else:
            assert look.remaining == 0
            assert 0 < look.retry_after <= 1.0
            assert [left for left, _ in look.each] == [0, 0]

    world.run(main())


@both
def test_a_reset_that_the_store_cannot_do_says_so(world: VirtualRuntime, ask: Ask) -> None:
    ledger, fake = guarded("2/s")
    fake.gone = True

    async def main() -> None:
        assert await takes(ledger, ask, 4) == [(True, True)] * 2 + [(False, True)] * 2
        with pytest.raises(
            StoreUnavailable,
            match=r"^api: the store is away, and is asked once a second .*; last: .* on holiday$",
        ):
            await ask(lambda on: ledger.reset("ann", on))
        assert await takes(ledger, ask, 1) == [(True, True)], "here it is reset"
        await ask(lambda on: ledger.refund("ann", 1, on))
        assert await takes(ledger, ask, 1) == [(True, True)], "and given back"

    world.run(main())


@both
@pytest.mark.parametrize("verb", ["reset", "peek", "refund"])
def test_the_last_reason_is_kept_whoever_met_it(world: VirtualRuntime, ask: Ask, verb: str) -> None:
    ledger, fake = guarded()
    fake.gone = True
    told: list[LimiterStoreChanged] = []
    stop = subscribe(LimiterStoreChanged, told.append)

    async def once(on: Runtime) -> None:
        arguments = ("ann", 1, on) if verb == "refund" else ("ann", on)
        await getattr(ledger, verb)(*arguments)

    async def main() -> None:
        for _ in range(3):
            with contextlib.suppress(StoreUnavailable):
                await ask(once)
        assert len(fake.asked) == 3
        await takes(ledger, ask, 1)
        assert [event.reason for event in told] == ["the store is on holiday"]
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"away, .*; last: the store is on holiday$"):
                await ask(lambda on: ledger.reset("ann", on))

    world.run(main())
    stop()


def test_a_probe_does_not_wait_for_its_turn(world: VirtualRuntime) -> None:
    ledger, fake = guarded("1/10s")

    async def main() -> None:
        await takes(ledger, _async, 1)
        fake.gone = True
        await takes(ledger, _async, 3)
        fake.gone = False
        await world.sleep(1.0)
        before = len(fake.asked)
        decision, _ = await ledger.take("ann", 1, colours.loop, 20.0)
        assert (decision.allowed, decision.away) == (True, False)
        assert [verb for verb, _ in fake.asked[before:]] == ["take", "wait"]

    world.run(main())


def test_a_cancelled_probe_leaves_the_way_free(world: VirtualRuntime) -> None:
    ledger, fake = guarded("100/s")

    async def main() -> None:
        fake.gone = True
        await takes(ledger, _async, 3)
        fake.gone, fake.delay = False, 5.0
        await world.sleep(1.0)
        task = asyncio.ensure_future(ledger.take("ann", 1, colours.loop))
        await world.sleep(0.1)
        assert await takes(ledger, _async, 2) == [(True, True)] * 2, "others do not wait for it"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        fake.delay = 0.0
        assert await takes(ledger, _async, 1) == [(True, False)]

    world.run(main())


def test_the_callers_own_deadline_is_no_fault_of_the_store(world: VirtualRuntime) -> None:
    ledger, fake = guarded("100/s")
    fake.delay = 5.0

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await Deadline("100ms").acall(lambda: ledger.take("ann", 1, colours.loop))
        fake.delay = 0.0
        assert await takes(ledger, _async, 1) == [(True, False)]

    world.run(main())


def test_as_a_policy_it_says_why_it_refuses() -> None:
    closed = FixedWindow("5/s", store="redis://127.0.0.1:1", away="closed", name="api")
    with pytest.raises(RateLimited, match=r"^api: the store in which the limit of 5/s is counted"):
        closed.call(len, "abc")


def test_it_closes_the_ledger() -> None:
    ledger, fake = guarded()
    ledger.close()
    assert fake.closed == 1

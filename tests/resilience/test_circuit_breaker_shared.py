"""`CircuitBreaker` with a store: two processes share its state and its probes, or do without."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.colour import Call, both_colours
from tests.resilience.fake_breaker_store import FakeBreakerStore
from tests.resilience.flaky import Always, Flaky

from escala.errors import CircuitOpen, DeadlineExceeded, WouldBlock
from escala.kernel.context import Request, serving
from escala.kernel.events import Event
from escala.resilience import (
    BreakerChanged,
    BreakerState,
    BreakerStoreChanged,
    CircuitBreaker,
)
from escala.testing import Trial, VirtualRuntime, cancel_everywhere

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.fixture(autouse=True)
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escala.resilience.circuit_breaker._opened", lambda *given: None)


def several(count: int, **options: Any) -> tuple[FakeBreakerStore, list[CircuitBreaker]]:
    """As many processes' breakers, and the store they share."""
    given = {"consecutive": 1, **options}
    store = FakeBreakerStore(**given)
    made = [CircuitBreaker(store="redis://unused", name="shop", **given) for _ in range(count)]
    return store, [store.share(each) for each in made]


async def fail(call: Call[Any], breaker: CircuitBreaker) -> None:
    with pytest.raises(ConnectionError):
        await call(breaker, Always())


async def refused(call: Call[Any], breaker: CircuitBreaker) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as caught:
        await call(breaker, Flaky())
    return caught.value


@both_colours
def test_what_one_opens_is_open_for_all_and_probed_by_one(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    _, (one, other) = several(2)

    async def main() -> None:
        await call(other, Flaky())
        await fail(call, one)
        assert await call(other, Flaky()) == "well", "its look is not a quarter of a second old"
        world.advance(0.25)
        error = await refused(call, other)
        assert str(error) == (
            "shop: the circuit is open, since 1 calls in a row failed; try again in 4.75 s"
        )
        world.advance(4.75)
        assert await call(other, lambda: (one.state, other.state)) == (OPEN, HALF_OPEN)
        assert other.state is CLOSED
        assert await call(one, Flaky()) == "well", "it looks, and finds it closed"

    world.run(main())
    changes = [event for event in events if isinstance(event, BreakerChanged)]
    assert [(each.before, each.after, each.reason) for each in changes] == [
        (CLOSED, OPEN, "1 calls in a row failed"),
        (CLOSED, OPEN, "1 calls in a row failed"),
        (OPEN, HALF_OPEN, "the cooldown is over"),
        (HALF_OPEN, CLOSED, "1 of 1 probes passed"),
        (OPEN, CLOSED, "1 of 1 probes passed"),
    ]


@both_colours
def test_the_probes_of_all_are_as_many_as_those_of_one(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    _, breakers = several(3, probes=2)
    one, other, third = breakers

    def probe() -> object:
        assert other.call(second) == "well"
        assert one.state is HALF_OPEN, "one of two"
        return "well"

    def second() -> object:
        for each in breakers:
            with pytest.raises(CircuitOpen, match="half-open and all its probes are out"):
                each.call(Flaky())
        return "well"

    async def main() -> None:
        await fail(call, one)
        world.advance(5)
        assert await call(one, probe) == "well"
        world.advance(0.25)
        assert await call(third, Flaky()) == "well"
        assert [each.state for each in breakers] == [CLOSED, HALF_OPEN, CLOSED]
        assert await call(other, Flaky()) == "well"

    world.run(main())


@pytest.mark.parametrize("probes", [1, 3])
def test_a_thousand_callers_of_two_processes_meet_so_many_probes(
    world: VirtualRuntime, probes: int
) -> None:
    store, breakers = several(2, probes=probes)
    store.delay = 0.01
    entered = 0

    async def slow() -> None:
        nonlocal entered
        entered += 1
        await asyncio.sleep(1)  # noqa: TID251  a user's own wait

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await breakers[0].acall(Always().awaited)
        with pytest.raises(CircuitOpen):
            await breakers[1].acall(Flaky().awaited)
        world.advance(5)
        asked = len(store.questions)
        calls = (breakers[at % 2].acall(slow) for at in range(1000))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert entered == probes
        assert sum(isinstance(answer, CircuitOpen) for answer in answers) == 1000 - probes
        assert len(store.questions) - asked <= 2 * (probes + 1) + probes, "and few questions"
        await asyncio.sleep(1)  # noqa: TID251  until both have looked
        for each in breakers:
            await each.acall(Flaky().awaited)
            assert each.state is CLOSED

    world.run(main())


@both_colours
@pytest.mark.parametrize("how", ["failed", "slow"])
def test_a_probe_that_fails_opens_it_for_all_and_longer(
    world: VirtualRuntime, call: Call[Any], how: str
) -> None:
    _, (one, other) = several(2, cooldown_cap="8s", slow="2s")

    async def main() -> None:
        await fail(call, one)
        world.advance(5)
        if how == "failed":
            await fail(call, one)
        else:
            await call(one, lambda: world.advance(2))
        assert one._machine.reason == f"a probe {'failed' if how == 'failed' else 'was slow'}"
        for each in (one, other):
            assert (await refused(call, each)).retry_after == 8.0

    world.run(main())


@both_colours
def test_a_probe_that_never_returns_is_replaced_when_its_lease_ends(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    _, (one, other) = several(2)

    def lost() -> object:
        world.advance(29.75)
        with pytest.raises(CircuitOpen):
            other.call(Flaky())
        world.advance(0.25)
        assert other.call(Flaky()) == "well"
        assert other.state is CLOSED
        raise ConnectionError

    async def main() -> None:
        await fail(call, one)
        world.advance(5)
        with pytest.raises(ConnectionError):
            await call(one, lost)
        assert one.state is CLOSED, "its end came late, and it goes where the store is"

    world.run(main())


def test_a_probe_that_is_cancelled_anywhere_goes_back() -> None:
    async def scenario(trial: Trial) -> None:
        store, (one, other) = several(2)
        store.delay = 0.01
        with pytest.raises(ConnectionError):
            await one.acall(Always().awaited)
        trial.world.advance(5)

        async def probe() -> None:
            await trial.world.sleep(1)

        victim = trial.victim(one.acall(probe))
        await asyncio.wait({victim})
        assert victim.cancelled() is trial.reached
        await trial.world.sleep(0.25)
        for each in (one, other, one):
            await each.acall(Flaky().awaited)
            assert each.state is CLOSED
        assert one._machine._asking == 0  # type: ignore[attr-defined]

    assert cancel_everywhere(scenario) >= 10


@both_colours
def test_a_probe_that_says_nothing_goes_back(world: VirtualRuntime, call: Call[Any]) -> None:
    store, (one, _) = several(2)

    async def main() -> None:
        await fail(call, one)
        world.advance(5)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                await call(one, Flaky(KeyboardInterrupt()))
            assert one.state is HALF_OPEN
        await call(one, Flaky())
        assert (one.state, store.records[""].state) == (CLOSED, CLOSED)

    world.run(main())


@both_colours
def test_alone_while_the_store_is_away(world: VirtualRuntime, call: Call[Any]) -> None:
    store, (one, other) = several(2)

    async def main() -> None:
        store.away = True
        for each in (one, other):
            assert await call(each, Flaky()) == "well"
        await fail(call, one)
        assert one.snapshot()["store_away"] == 1.0
        await refused(call, one)
        world.advance(4.0)
        assert await call(other, Flaky()) == "well", "each for itself"
        world.advance(1.0)
        assert await call(one, Flaky()) == "well", "its own probe"
        assert one.state is CLOSED
        store.away = False
        world.advance(0.25)
        await call(one, Flaky())
        assert one.snapshot()["store_away"] == 0.0
        assert not store.records[""].known

    world.run(main())


@both_colours
def test_why_the_store_is_away_and_that_it_is_back_is_told_once_each(
    world: VirtualRuntime, call: Call[Any], events: list[Event]
) -> None:
    store, (one, _) = several(2, key="key")

    async def main() -> None:
        await call(one, Flaky())
        store.away = True
        for at in range(3):
            world.advance(0.25)
            with serving(Request(key=f"host {at}")):
                assert await call(one, Flaky()) == "well"
        store.away = False
        for _ in range(2):
            world.advance(0.25)
            await call(one, Flaky())

    world.run(main())
    told = [event for event in events if isinstance(event, BreakerStoreChanged)]
    assert [(each.name, each.at, each.away, each.reason) for each in told] == [
        ("shop", 0.25, True, "away"),
        ("shop", 1.0, False, "the store answers again"),
    ]


@both_colours
def test_what_opened_while_the_store_was_away_is_told_when_it_is_back(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    store, (one, other) = several(2)

    async def main() -> None:
        store.away = True
        await fail(call, one)
        world.advance(1)
        store.away = False
        await refused(call, one)
        assert (await refused(call, other)).retry_after == 5.0, "begins when the store hears of it"
        world.advance(5)
        await call(one, Flaky())
        assert one.state is CLOSED

    world.run(main())


@both_colours
def test_back_when_its_cooldown_is_over_it_probes_for_all(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    store, (one, _) = several(2)

    async def main() -> None:
        await call(one, Flaky())
        store.away = True
        await fail(call, one)
        world.advance(5)
        one._machine._look_at = world.now() + 1  # type: ignore[attr-defined]
        store.away = False
        assert await call(one, lambda: store.records[""].state) is HALF_OPEN
        assert (one.state, store.records[""].state) == (CLOSED, CLOSED)

    world.run(main())


@both_colours
@pytest.mark.parametrize(("end", "state"), [(Flaky(), CLOSED), (Always(), OPEN)])
def test_a_probe_counts_when_the_store_has_gone_away_meanwhile(
    world: VirtualRuntime, call: Call[Any], end: Flaky, state: BreakerState
) -> None:
    store, (one, _) = several(2)

    def probe() -> object:
        store.away = True
        return end()

    async def main() -> None:
        await fail(call, one)
        world.advance(5)
        try:
            await call(one, probe)
        except ConnectionError:
            assert state is OPEN
        assert one.state is state

    world.run(main())


@both_colours
def test_a_store_that_forgets_does_not_keep_it_open(world: VirtualRuntime, call: Call[Any]) -> None:
    store, (one, _) = several(2)

    async def main() -> None:
        await fail(call, one)
        store.records.clear()
        world.advance(1)
        await refused(call, one)
        world.advance(4)
        assert await call(one, Flaky()) == "well"
        assert one.state is CLOSED

    world.run(main())


@both_colours
def test_while_the_store_is_away_it_is_asked_once_in_each_interval(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    store, (one, _) = several(2, key="key", refresh="1s", consecutive=2)

    async def main() -> None:
        store.away = True
        for at in range(40):
            with serving(Request(key=f"host {at % 10}")), contextlib.suppress(CircuitOpen):
                await call(one, Flaky())
            world.advance(0.125)
        assert len(store.questions) == 5, "for all keys together"

    world.run(main())


@both_colours
@pytest.mark.parametrize("error", [DeadlineExceeded("over"), WouldBlock("here")], ids=repr)
def test_a_report_never_takes_the_place_of_what_the_call_came_to(
    world: VirtualRuntime, call: Call[Any], error: Exception
) -> None:
    store, (one, _) = several(2)

    async def fails(*given: Any) -> Any:
        raise error

    def break_it(end: Flaky) -> object:
        store.answer = fails  # type: ignore[method-assign, assignment]
        return end()

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await call(one, lambda: break_it(Always()))
        assert one.state is OPEN
        del store.answer
        world.advance(5)
        await refused(call, one)  # it tells that it has opened
        world.advance(5)
        assert await call(one, lambda: break_it(Flaky())) == "well"
        assert one.state is CLOSED
        world.advance(1)
        with pytest.raises(type(error)):
            await call(one, Flaky())

    world.run(main())


@both_colours
def test_looks_once_in_each_interval(world: VirtualRuntime, call: Call[Any]) -> None:
    store, (one, _) = several(2, refresh="1s")

    async def main() -> None:
        for _ in range(40):
            await call(one, Flaky())
            world.advance(0.125)
        assert len(store.questions) == 5
        assert {question.errand for question in store.questions} == {"look"}

    world.run(main())


@both_colours
@pytest.mark.parametrize("mode", ["shadow", "disabled", "forced_open"])
def test_what_is_done_by_hand_is_done_in_one_process(
    world: VirtualRuntime, call: Call[Any], mode: Any
) -> None:
    store, (one, other) = several(2)

    async def main() -> None:
        await fail(call, other)
        one.switch(mode)
        before, state = len(store.questions), one.state
        if mode == "forced_open":
            await refused(call, one)
        else:
            await fail(call, one)
            await fail(call, one)
        assert len(store.questions) == before
        assert one.state is (OPEN if mode == "shadow" else state)
        one.switch("enforce")
        await refused(call, one)

    world.run(main())


def test_an_answer_that_comes_after_a_switch_changes_nothing(world: VirtualRuntime) -> None:
    store, (one, other) = several(2)

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await other.acall(Always().awaited)
        store.delay = 1.0
        call = world.spawn(one.acall(Flaky().awaited))
        await asyncio.sleep(0.5)  # noqa: TID251  until it has asked
        one.switch("disabled")
        assert await call == "well"
        assert one.state is BreakerState.DISABLED

    world.run(main())


@both_colours
def test_each_key_is_shared_by_itself(world: VirtualRuntime, call: Call[Any]) -> None:
    store, (one, other) = several(2, key="key")

    async def main() -> None:
        with serving(Request(key="a")):
            await fail(call, one)
            await refused(call, other)
        with serving(Request(key="b")):
            assert await call(other, Flaky()) == "well"
        assert {key: record.state for key, record in store.records.items()} == {
            "a": OPEN,
            "b": CLOSED,
        }
        assert other.snapshot() == {
            "open": 1.0,
            "half_open": 0.0,
            "forced_open": 0.0,
            "disabled": 0.0,
            "would_refuse": 0.0,
            "keys": 2.0,
            "store_away": 0.0,
        }

    world.run(main())


@both_colours
def test_judged_predicated_and_slow_as_without_a_store(
    world: VirtualRuntime, call: Call[Any]
) -> None:
    def interrupted(error: Exception) -> bool:
        raise KeyboardInterrupt

    async def main() -> None:
        _, (judged,) = several(1, judge=lambda answer: answer == "bad")
        assert await call(judged, Flaky("bad")) == "bad"
        _, (predicated,) = several(1, on=interrupted)
        with pytest.raises(KeyboardInterrupt):
            await call(predicated, Always())
        _, (slow,) = several(1, consecutive=None, minimum_calls=1, slow="1s")
        await call(slow, lambda: world.advance(1))
        for each in (judged, predicated, slow):
            assert each.state is OPEN

    world.run(main())


def test_an_abandoned_probe_goes_back_when_it_is_collected(world: VirtualRuntime) -> None:
    _, (one, other) = several(2)

    async def hang() -> None:
        await asyncio.sleep(60)  # noqa: TID251  a user's own wait

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await one.acall(Always().awaited)
        world.advance(5)
        abandoned: Any = one.acall(hang)
        abandoned.send(None)
        with pytest.raises(CircuitOpen):
            await other.acall(Flaky().awaited)
        del abandoned
        gc.collect()
        assert await one.acall(Flaky().awaited) == "well"
        assert one.state is CLOSED

    world.run(main())


PAUSES = (0.0, 0.125, 0.25, 1.0, 5.0, 30.0)


@given(
    probes=st.integers(1, 2),
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["well", "failed", "nothing", "away", "back", "forgets"]),
            st.sampled_from(PAUSES),
        ),
        max_size=60,
    ),
)
def test_whatever_happens_all_are_where_the_store_is_and_end_closed(
    probes: int, steps: list[tuple[int, str, float]]
) -> None:
    world = VirtualRuntime()
    ends: dict[str, Any] = {
        "well": Flaky,
        "failed": Always,
        "nothing": lambda: Flaky(KeyboardInterrupt()),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("escala.resilience.circuit_breaker._opened", lambda *given: None)
        store, breakers = several(3, probes=probes, cooldown_cap="20s")

    def call(at: int, end: Flaky) -> None:
        with contextlib.suppress(ConnectionError, CircuitOpen, KeyboardInterrupt):
            breakers[at].call(end)

    async def main() -> None:
        for at, what, pause in steps:
            world.advance(pause)
            if what in ends:
                call(at, ends[what]())
            elif what == "forgets":
                store.records.clear()
            else:
                store.away = what == "away"
            record = store.records.get("")
            if record is not None:
                assert len(record.leases) + record.passed <= probes
        store.away = False
        for _ in range(probes + 2):
            for at in range(3):
                world.advance(30)
                call(at, Flaky())
                record = store.records[""]
                assert not record.known or breakers[at].state is record.state
        assert [each.state for each in breakers] == [CLOSED] * 3

    try:
        world.run(main())
    finally:
        world.close()


def test_its_connections_are_let_go() -> None:
    store, (one, _) = several(2)
    one.close()
    one.close()
    assert store.closed == 2
    CircuitBreaker().close()

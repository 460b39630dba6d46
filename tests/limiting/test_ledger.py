"""A limiter whose counts are kept elsewhere: what it asks of the ledger, and when."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from tests.limiting.limiters import alone, every_limiter

from escala import TokenBucket
from escala.errors import ConfigError, DeadlineExceeded, RateLimited, StoreUnavailable
from escala.kernel import registry
from escala.kernel.policy import Scope
from escala.kernel.runtime import Runtime
from escala.limiting import Decision, Plan
from escala.limiting.ledger import LEDGERS, Ledger, open_ledger
from escala.limiting.memory_ledger import MemoryLedger
from escala.resilience import Deadline
from escala.testing import VirtualRuntime

made: list[Elsewhere] = []


class Elsewhere:
    """Keeps no counts: says what it is told to say, and writes down what it was asked."""

    def __init__(self, url: str, plan: Plan) -> None:
        self.url, self.plan = url, plan
        self.asked: list[tuple[Any, ...]] = []
        self.sleep = 0.0
        self.fails: Exception | None = None
        self.says = Decision(
            allowed=True, limit=5, remaining=4, reset_after=1.0, retry_after=0.0, decided_by=0
        )
        made.append(self)

    async def take(
        self, key: str, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        self.asked.append(("take", key, cost, wait))
        if self.fails is not None:
            raise self.fails
        return self.says, self.sleep

    async def peek(self, key: str, runtime: Runtime) -> Decision:
        self.asked.append(("peek", key))
        return self.says

    async def reset(self, key: str, runtime: Runtime) -> None:
        self.asked.append(("reset", key))

    async def refund(self, key: str, cost: int, runtime: Runtime) -> None:
        self.asked.append(("refund", key, cost))

    def close(self) -> None:
        self.asked.append(("close",))


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Elsewhere]]:
    found = registry.load

    def load(group: str, name: str) -> Any:
        return Elsewhere if (group, name) == (LEDGERS, "test") else found(group, name)

    monkeypatch.setattr("escala.limiting.ledger.load", load)
    made.clear()
    yield made
    made.clear()


@every_limiter
def test_opens_the_ledger_of_the_urls_scheme_with_its_plan(make: Any) -> None:
    limiter = make("7/s; 9/h", store="test://place", name="mine")
    (ledger,) = made
    assert (ledger.url, ledger.plan) == ("test://place", limiter.plan)
    assert (ledger.plan.algorithm, ledger.plan.name) == (make.algorithm, "mine")
    assert [limit.text for limit in ledger.plan.limits] == ["7/s", "9/h"]
    assert [limit.burst for limit in ledger.plan.limits] == [7, 9]
    assert ledger.plan.strict is (make.algorithm == "sliding_window_log")
    assert ledger.asked == [], "it is not asked before someone asks the limiter"


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_everything_is_asked_of_the_ledger(world: VirtualRuntime, colour: str) -> None:
    limiter = TokenBucket("5/s", store="test://", max_keys=1)

    async def ask(verb: str, *args: Any, **named: Any) -> Any:
        if colour == "sync":
            return getattr(limiter, verb)(*args, **named)
        return await getattr(limiter, "a" + verb)(*args, **named)

    async def main() -> None:
        (ledger,) = made
        assert await ask("acquire", "ann", 3) is ledger.says
        assert await ask("acquire", wait="250ms") is ledger.says
        assert await ask("peek", b"bob") is ledger.says
        assert await ask("reset", 7) is None
        assert await ask("refund", "ann", 2) is None
        with pytest.raises(ValueError, match="a cost of 6 can never be granted"):
            await ask("acquire", "ann", 6)
        with pytest.raises(TypeError, match="expected a key of text, bytes"):
            await ask("acquire", 2.5)
        limiter.close()
        limiter.close()
        assert ledger.asked == [
            ("take", "ann", 3, 0.0),
            ("take", "", 1, 0.25),
            ("peek", "bytes:626f62"),
            ("reset", "int:7"),
            ("refund", "ann", 2),
            ("close",),
            ("close",),
        ]
        ledger.fails = StoreUnavailable("no")
        assert (await ask("acquire")).away

    world.run(main())


def test_as_a_policy_it_asks_too(world: VirtualRuntime) -> None:
    limiter = TokenBucket("5/s", store="test://", wait="1s", key="key")

    async def main() -> None:
        (ledger,) = made
        assert limiter.call(len, "abc") == 3
        ledger.says = Decision(
            allowed=False, limit=5, remaining=0, reset_after=1.0, retry_after=2.0
        )
        with pytest.raises(RateLimited) as caught:
            limiter.call(len, "abc")
        assert caught.value.retry_after == 2.0
        assert caught.value.reason == "the limit of 5/s is used up"
        assert ledger.asked == [("take", "", 1, 1.0)] * 2

    world.run(main())


def test_a_reserved_place_is_slept_for_and_given_back_when_cancelled(
    world: VirtualRuntime,
) -> None:
    limiter = TokenBucket("5/s", store="test://")

    async def main() -> None:
        (ledger,) = made
        ledger.sleep = 0.5
        assert (await limiter.aacquire("k", 2, wait="1s")).allowed
        assert world.now() == 0.5
        task = world.spawn(limiter.aacquire("k", 2, wait="1s"))
        await asyncio.sleep(0.1)  # noqa: TID251  in virtual time
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert ledger.asked[2:] == [("refund", "k", 2)]
        with pytest.raises(DeadlineExceeded):
            async with Deadline("400ms"):
                await limiter.aacquire("k", wait="1s")
        assert ledger.asked[3][:3] == ("take", "k", 1)
        assert ledger.asked[3][3] == pytest.approx(0.4), "no longer than the deadline"
        assert ledger.asked[4] == ("refund", "k", 1)

    world.run(main())


def test_a_thread_sleeps_for_its_place() -> None:
    limiter = TokenBucket("5/s", store="test://")
    made[0].sleep = 0.5
    with alone() as thread:
        assert limiter.acquire(wait="1s")
        assert thread.now() == 50.5


def test_an_abandoned_wait_does_not_ask_the_store() -> None:
    limiter = TokenBucket("5/s", store="test://")
    made[0].sleep = 9.0

    async def main() -> None:
        wait = limiter.aacquire(wait="10s")
        wait.send(None)
        wait.close()

    asyncio.run(main())
    assert [asked[0] for asked in made[0].asked] == ["take"]


def test_with_a_store_there_are_no_parts() -> None:
    options = TokenBucket("8/s", store="test://").options
    limiter = TokenBucket.build(options, Scope(share=4))
    assert limiter.plan.limits[0].burst == 8
    assert limiter._share == 1
    assert len(made) == 2


def test_a_password_in_the_url_is_not_shown() -> None:
    limiter = TokenBucket("8/s", store="test://user:secret@host/1")
    assert repr(limiter) == "TokenBucket('8/s', store='test://***@host/1')"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "redis.example.com",
            "rate_limit: store: expected a URL such as 'redis://localhost:6379',",
        ),
        ("", "rate_limit: store: expected a URL"),
        ("gopher://hole", "rate_limit: store: expected one of the ledgers "),
    ],
)
def test_a_store_that_is_none(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TokenBucket("8/s", store=url)
    assert str(caught.value).startswith(message)


def test_what_is_no_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        open_ledger("user:secret@host", TokenBucket("8/s").plan)
    assert str(caught.value) == (
        "rate_limit: store: expected a URL such as 'redis://localhost:6379', "
        "found text without '://'"
    )


def test_counts_in_memory_are_a_ledger_like_any_other() -> None:
    ledger: Ledger = MemoryLedger(TokenBucket("8/s").plan)
    ledger.close()
    for name in ("take", "peek", "reset", "refund", "close"):
        parameters = list(inspect.signature(getattr(Ledger, name)).parameters)
        assert list(inspect.signature(getattr(MemoryLedger, name)).parameters) == parameters

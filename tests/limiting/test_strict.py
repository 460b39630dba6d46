"""`strict=True`: no period, wherever it begins, holds more than the limit counts."""

from __future__ import annotations

import pytest

from escala import SlidingWindowLog, TokenBucket
from escala.errors import ConfigError
from escala.testing import VirtualRuntime


@pytest.mark.parametrize(
    ("given", "burst", "per_second"),
    [
        ({"limit": "100/s"}, 10, 91 - 0.001),
        ({"limit": "100/10s", "burst": 1}, 1, 10 - 0.0001),
        ({"limit": "100/s", "burst": 100}, 100, 1 - 0.001),
        ({"limit": "9/s"}, 1, 9 - 0.001),
        ({"limit": "19/s"}, 1, 19 - 0.001),
        ({"limit": "20/s"}, 2, 19 - 0.001),
        ({"limit": "1/min"}, 1, 0.999 / 60),
    ],
)
def test_the_count_is_split_into_a_burst_and_a_stream(
    given: dict[str, str], burst: int, per_second: float
) -> None:
    limiter = TokenBucket(**given, strict=True)  # type: ignore[arg-type]
    (limit,) = limiter.plan.limits
    assert limit.burst == burst
    assert limit.rate == pytest.approx(per_second)
    assert limiter.plan.strict
    assert limiter._machine.strict
    assert not TokenBucket("1/s").plan.strict


def test_without_it_a_period_may_hold_nearly_twice_the_count(world: VirtualRuntime) -> None:
    async def passed_in_a_second(limiter: TokenBucket) -> int:
        world.advance(10)
        count = 0
        for _ in range(100):
            while limiter.acquire():
                count += 1
            world.advance(0.00999)
        return count

    async def main() -> tuple[int, int, int]:
        return (
            await passed_in_a_second(TokenBucket("100/s")),
            await passed_in_a_second(TokenBucket("100/s", strict=True)),
            await passed_in_a_second(TokenBucket("100/s", strict=True, burst=50)),
        )

    loose, strict, half = world.run(main())
    assert 195 <= loose <= 200
    assert 98 <= strict <= 100
    assert 98 <= half <= 100


def test_several_limits_are_each_strict() -> None:
    limiter = TokenBucket("10/s; 1000/h", burst=2, strict=True)
    first, second = limiter.plan.limits
    assert first.burst == 2
    assert first.rate == pytest.approx(9 - 0.001)
    assert second.burst == 100
    assert second.rate == pytest.approx((901 - 0.001) / 3600)


@pytest.mark.parametrize(
    ("limit", "burst", "found"),
    [("2.5/s", None, "'2.5/s' and a burst of 1"), ("10/s", 11, "'10/s' and a burst of 11")],
)
def test_what_cannot_be_split(limit: str, burst: int | None, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TokenBucket(limit, burst=burst, strict=True)
    assert str(caught.value) == (
        "TokenBucket: strict: expected a whole number of calls per period and a burst that is a "
        f"part of it, found {found}"
    )


def test_a_strict_burst_may_be_all_there_is() -> None:
    assert TokenBucket("10/s", burst=10, strict=True).plan.limits[0].burst == 10


@pytest.mark.parametrize("wakes_at", [0.0, 0.0005])
def test_who_is_served_by_another_caller_begins_at_that_moment(
    world: VirtualRuntime, wakes_at: float
) -> None:
    """It was charged then: were it to begin later, a later period would hold one call more."""
    limiter = SlidingWindowLog("1/s")
    began = []

    async def wait() -> None:
        assert await limiter.aacquire(wait="2s")
        began.append(world.now())

    async def main() -> None:
        assert await limiter.aacquire()
        await world.sleep(0.9999)
        waiter = world.spawn(wait())  # due in 0.1 ms, but it parks for a whole one
        await world.sleep(0.0001 + wakes_at)
        assert not await limiter.aacquire()
        await waiter

    world.run(main())
    assert began == [pytest.approx(1.0 + wakes_at, abs=1e-9)]

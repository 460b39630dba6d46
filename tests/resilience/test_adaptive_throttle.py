"""`AdaptiveThrottle` around calls: what counts as refused, and who is let through."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from tests.resilience.colour import Call, both_colours
from tests.resilience.flaky import Always, Flaky

from escala import AdaptiveThrottle, Deadline, Stack, Timeout
from escala.errors import BulkheadFull, ConfigError, DeadlineExceeded, Shed
from escala.testing import VirtualRuntime


class Lot(random.Random):
    """Always the same draw."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


@both_colours
def test_refuses_what_the_far_side_would(world: VirtualRuntime, call: Call[Any]) -> None:
    throttle = AdaptiveThrottle(rng=Lot(0.7), name="shop")

    async def main() -> None:
        for _ in range(3):  # chances of 0, 1/2 and 2/3
            with pytest.raises(ConnectionError):
                await call(throttle, Always())
        fn = Flaky()
        with pytest.raises(Shed, match=r"^shop: the far side refuses most calls"):
            await call(throttle, fn)
        assert fn.calls == 0
        assert throttle.snapshot() == {"chance": pytest.approx(4 / 5)}
        world.advance(31)
        assert await call(throttle, fn) == "well"

    world.run(main())


@both_colours
@pytest.mark.parametrize(
    ("make", "chance"),
    [
        (Always, 5 / 6),
        (lambda: Flaky(503), 5 / 6),
        (lambda: Flaky(200), 0.0),
        (lambda: Always(ValueError), 0.0),
    ],
    ids=["lost", "judged", "served", "answered"],
)
def test_what_counts(world: VirtualRuntime, call: Call[Any], make: Any, chance: float) -> None:
    throttle = AdaptiveThrottle(judge=lambda status: status == 503, rng=Lot(0.99))

    async def main() -> None:
        for _ in range(5):
            with contextlib.suppress(ConnectionError, ValueError):
                await call(throttle, make())
        assert throttle.snapshot() == {"chance": pytest.approx(chance)}
        assert throttle._machine._window.calls == 5

    world.run(main())


def test_what_says_nothing_about_the_far_side_does_not_count(world: VirtualRuntime) -> None:
    throttle = AdaptiveThrottle(rng=Lot(0.99))

    async def hang() -> None:
        await world.sleep(60)

    async def main() -> None:
        for fn in (Flaky(BulkheadFull("b", "full")), Flaky(KeyboardInterrupt())):
            with pytest.raises((BulkheadFull, KeyboardInterrupt)):
                throttle.call(fn)
        with pytest.raises(DeadlineExceeded):
            await Stack(Deadline("1s"), throttle).acall(hang)
        assert throttle._machine._window.calls == 0
        with pytest.raises(DeadlineExceeded):
            await Stack(throttle, Timeout("1s")).acall(hang)
        assert throttle._machine._window.calls == 1

    world.run(main())


@pytest.mark.parametrize(
    ("given", "told"), [({"multiple": 1.0}, "multiple"), ({"window": 0}, "window")]
)
def test_bad_options(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"AdaptiveThrottle: {told}: expected"):
        AdaptiveThrottle(**given)

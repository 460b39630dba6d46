"""Time limits inside one another arm one timer for the nearest of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from escala.errors import DeadlineExceeded
from escala.kernel.runtime import colours
from escala.testing import VirtualRuntime


async def nested(world: VirtualRuntime, limits: list[float], work: float) -> str:
    if not limits:
        await asyncio.sleep(work)  # noqa: TID251  the work that is timed
        return "well"
    until = world.now() + limits[0]
    return await colours.loop.race(lambda: nested(world, limits[1:], work), until)


def armed_for(limits: list[float], work: float) -> tuple[object, list[float], float]:
    """How nested limits end, the timers that were armed for them, and when all is over."""
    world, armed = VirtualRuntime(), []

    async def main() -> object:
        loop: Any = asyncio.get_running_loop()
        plain = loop.call_later

        def call_later(delay: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(callback, "__name__", "") == "ring":
                armed.append(delay)
            return plain(delay, callback, *args, **kwargs)

        loop.call_later = call_later
        try:
            return await nested(world, limits, work)
        except DeadlineExceeded:
            return "late"
        finally:
            del loop.call_later

    end = world.run(main())
    at = world.now()
    world.close()
    return end, armed, at


@pytest.mark.parametrize(
    ("limits", "work", "told"),
    [
        ([10, 3], 1, ("well", [3], 1)),
        ([10, 5, 3], 1, ("well", [3], 1)),
        ([3, 3], 1, ("well", [3], 1)),
        ([10, 3], 5, ("late", [3, 7], 3)),
        ([3, 10], 1, ("well", [10, 3], 1)),
        ([3, 10], 5, ("late", [10, 3], 3)),
    ],
    ids=str,
)
def test_one_timer_for_the_nearest(
    limits: list[float], work: float, told: tuple[str, list[float], float]
) -> None:
    assert armed_for(limits, work) == told


def test_the_outer_limit_still_ends_what_comes_after_the_inner_one() -> None:
    world = VirtualRuntime()

    async def work() -> None:
        await colours.loop.race(lambda: asyncio.sleep(1), world.now() + 2)  # noqa: TID251
        await asyncio.sleep(60)  # noqa: TID251  the inner limit's handle is the outer one's now

    async def main() -> float:
        with pytest.raises(DeadlineExceeded):
            await colours.loop.race(work, world.now() + 5)
        return world.now()

    assert world.run(main()) == 5
    world.close()


def test_the_timer_of_another_task_is_no_heirs() -> None:
    world = VirtualRuntime()

    async def child() -> None:
        await colours.loop.race(lambda: asyncio.sleep(60), world.now() + 4)  # noqa: TID251

    async def work() -> asyncio.Task[None]:
        await asyncio.sleep(1)  # noqa: TID251  now the limit around is armed
        return asyncio.create_task(child())

    async def main() -> float:
        task = await colours.loop.race(work, world.now() + 2)
        with pytest.raises(DeadlineExceeded):
            await task
        return world.now()

    assert world.run(main()) == 5
    world.close()

"""The cache among other policies: outside of them, inside of them, both at once."""

from __future__ import annotations

import asyncio

import pytest
from tests.http.cache_world import World

from escala.errors import BackendError, CircuitOpen, DeadlineExceeded
from escala.http.message import HttpRequest, Response
from escala.kernel.context import serving
from escala.kernel.stack import Stack
from escala.resilience.bulkhead import Bulkhead
from escala.resilience.circuit_breaker import CircuitBreaker
from escala.resilience.retry import Retry
from escala.resilience.timeout import Timeout


async def ask(world: World, stack: Stack) -> tuple[Response, str | None]:
    request = HttpRequest("GET", b"/", [], host=b"shop")
    with serving(request):
        response = await stack.acall(world.origin)
    return response, request.notes.get("cache")


def failing(world: World, times: int) -> None:
    """The next calls of the origin fail."""
    left = times

    def answer(request: HttpRequest) -> Response:
        nonlocal left
        left -= 1
        if left >= 0:
            raise BackendError("down")
        return world.origin.page(request)

    world.origin.answer = answer


@pytest.mark.parametrize("outside", [True, False], ids=["cache(retry)", "retry(cache)"])
def test_with_a_retry(outside: bool) -> None:
    world = World()
    retry = Retry(attempts=3, base="100ms", budget=None)
    stack = Stack(world.cache, retry) if outside else Stack(retry, world.cache)

    async def main() -> None:
        failing(world, 2)
        replies = await asyncio.gather(*(ask(world, stack) for _ in range(5)))
        assert {response.status for response, _ in replies} == {200}
        assert (await ask(world, stack))[1] == "hit"

    world.run(main())
    assert world.origin.count == 3


def test_an_open_breaker_behind_the_cache_means_stale_answers() -> None:
    world = World(stale_if_error="10m")
    breaker = CircuitBreaker(failure_rate="50%", minimum_calls=2, cooldown="30s")
    stack = Stack(world.cache, breaker)

    async def main() -> None:
        await ask(world, stack)
        await world.sleep(61)
        failing(world, 1000)
        for _ in range(20):
            assert (await ask(world, stack))[1] == "stale"
            await world.sleep(1)
        assert world.origin.count <= 4  # the breaker saw to that
        failing(world, 0)
        await world.sleep(30)
        assert (await ask(world, stack))[1] == "revalidated"

    world.run(main())


def test_a_breaker_in_front_of_the_cache_sees_no_failure_that_was_covered() -> None:
    world = World(stale_if_error="10m")
    breaker = CircuitBreaker(failure_rate="50%", minimum_calls=2, cooldown="30s")
    stack = Stack(breaker, world.cache)

    async def main() -> None:
        await ask(world, stack)
        await world.sleep(61)
        failing(world, 1000)
        for _ in range(20):
            assert (await ask(world, stack))[1] == "stale"
        await world.sleep(600)
        for _ in range(20):
            with pytest.raises((BackendError, CircuitOpen)):
                await ask(world, stack)
        with pytest.raises(CircuitOpen):
            await ask(world, stack)

    world.run(main())


def test_a_timeout_outside_ends_one_clients_wait_and_the_load_goes_on_with_another() -> None:
    world = World()
    world.origin.takes = 2.0
    hasty, patient = Stack(Timeout("1s"), world.cache), Stack(world.cache)

    async def main() -> None:
        first = world.runtime.spawn(ask(world, hasty))
        await world.sleep(0.5)
        second = world.runtime.spawn(ask(world, patient))
        with pytest.raises(DeadlineExceeded):
            await first
        assert (await second)[1] == "miss"
        assert world.runtime.now() == 3.0

    world.run(main())


def test_a_timeout_inside_ends_the_load_for_all() -> None:
    world = World()
    world.origin.takes = 2.0
    stack = Stack(world.cache, Timeout("1s"))

    async def main() -> None:
        results = await asyncio.gather(
            *(ask(world, stack) for _ in range(4)), return_exceptions=True
        )
        assert {type(result) for result in results} == {DeadlineExceeded}
        assert world.runtime.now() == 1.0

    world.run(main())
    assert world.origin.count == 1


def test_those_who_wait_take_no_slot_of_a_bulkhead_behind_the_cache() -> None:
    world = World()
    world.origin.takes = 1.0
    bulkhead = Bulkhead(slots=1)
    stack = Stack(world.cache, bulkhead)

    async def main() -> None:
        replies = await asyncio.gather(*(ask(world, stack) for _ in range(50)))
        assert {response.status for response, _ in replies} == {200}
        assert bulkhead.free == 1

    world.run(main())
    assert world.origin.count == 1

"""Many clients want the same at once: one asks, the others wait, whatever happens to the one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.cache_world import FRESH, Reply, World

from escala.errors import BackendError, BulkheadFull, DeadlineExceeded, RateLimited
from escala.http.message import HttpRequest, Response
from escala.kernel.context import serving, shorten
from escala.kernel.stack import Stack
from escala.resilience.deadline import Deadline

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_load_for_all_who_want_the_same(seed: int) -> None:
    world = World(seed)
    world.origin.takes = 2.0

    async def main() -> None:
        clients = [world.client(after=0.1 * number) for number in range(10)]
        replies = await asyncio.gather(*clients)
        assert {reply.body for reply in replies} == {b"version 1"}
        assert {reply.at for reply in replies} == {2.0}
        assert sorted(str(reply.note) for reply in replies) == ["coalesced"] * 9 + ["miss"]

    world.run(main())
    assert world.origin.count == 1
    assert world.counts("misses", "coalesced", "hits") == [1, 9, 0]


def test_different_pages_do_not_wait_for_each_other() -> None:
    world = World()
    world.origin.takes = 1.0

    async def main() -> None:
        replies = await asyncio.gather(world.client("/a"), world.client("/b"))
        assert [reply.at for reply in replies] == [1.0, 1.0]

    world.run(main())
    assert world.origin.count == 2


def test_an_answer_slower_than_its_own_lifetime_still_serves_all_who_waited() -> None:
    world = World()
    world.origin.takes = 3.0
    world.origin.headers = [(b"cache-control", b"max-age=1")]

    async def main() -> None:
        await asyncio.gather(*(world.client() for _ in range(10)))

    world.run(main())
    assert world.origin.count == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_when_the_leader_is_cancelled_exactly_one_takes_over(seed: int) -> None:
    world = World(seed)
    world.origin.takes = 2.0

    async def main() -> None:
        leader = world.client()
        await world.sleep(0.5)
        others = [world.client() for _ in range(8)]
        await world.sleep(0.5)
        leader.cancel()
        replies = await asyncio.gather(*others)
        assert {reply.status for reply in replies} == {200}
        assert {reply.at for reply in replies} == {3.0}
        assert leader.cancelled()

    world.run(main())
    assert world.origin.count == 2
    assert world.origin.most_busy == 1


def test_leaders_may_be_cancelled_one_after_another() -> None:
    world = World(wait=60)
    world.origin.takes = 2.0

    async def main() -> None:
        clients = [world.client(after=0.001 * number) for number in range(6)]
        for client in clients[:5]:
            await world.sleep(1)
            client.cancel()
        assert (await clients[5]).status == 200

    world.run(main())
    assert world.origin.count == 6
    assert world.origin.most_busy == 1


def test_a_waiter_that_is_cancelled_disturbs_no_one() -> None:
    world = World()
    world.origin.takes = 2.0

    async def main() -> None:
        leader = world.client()
        waiters = [world.client(after=0.1) for _ in range(3)]
        await world.sleep(1)
        waiters[1].cancel()
        replies = await asyncio.gather(leader, waiters[0], waiters[2])
        assert {reply.at for reply in replies} == {2.0}

    world.run(main())
    assert world.origin.count == 1


def test_all_may_leave() -> None:
    world = World()
    world.origin.takes = 2.0

    async def main() -> None:
        clients = [world.client(after=0.1 * number) for number in range(4)]
        await world.sleep(1)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        assert (await world.get()).at == 3.0

    world.run(main())


@given(
    seed=st.integers(0, 1000),
    cancelled=st.dictionaries(st.integers(0, 7), st.integers(0, 60), max_size=8),
    takes=st.integers(0, 20),
)
def test_whoever_is_cancelled_whenever_all_others_are_served(
    seed: int, cancelled: dict[int, int], takes: int
) -> None:
    """At any step: no one else fails, no stampede, nothing left behind (see `World.run`)."""
    world = World(seed, wait=1000)
    world.origin.takes = takes / 10

    async def main() -> list[Reply | BaseException]:
        clients = [world.client(after=number / 10) for number in range(8)]

        async def cancel(number: int, at: int) -> None:
            await world.sleep(at / 10)
            clients[number].cancel()

        await asyncio.gather(*(cancel(*each) for each in cancelled.items()))
        return await asyncio.gather(*clients, return_exceptions=True)

    for number, result in enumerate(world.run(main())):
        if isinstance(result, BaseException):
            assert isinstance(result, asyncio.CancelledError)
            assert number in cancelled
        else:
            assert result.body == b"version 1"
    assert world.origin.most_busy <= 1
    assert world.origin.count <= 1 + len(cancelled)


@pytest.mark.parametrize(
    "error", [BackendError("down"), BulkheadFull("slots", "full"), KeyError(1)]
)
def test_the_leaders_error_is_everyones_and_no_one_asks_again(error: Exception) -> None:
    world = World()
    world.origin.takes = 1.0

    async def fail() -> Response:
        raise error

    world.origin.answer = lambda _: fail()

    async def main() -> None:
        clients = [world.client(after=0.1 * number) for number in range(5)]
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert [type(result) for result in results] == [type(error)] * 5
        assert [str(result) for result in results] == [str(error)] * 5
        assert world.runtime.now() == 1.0
        with pytest.raises(type(error)):  # the next one tries
            await world.get()

    world.run(main())
    assert world.origin.count == 2
    assert world.counts("misses", "coalesced") == [2, 4]


class Odd(Exception):
    """Cannot be made again from its `args`."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    "make", [lambda: BackendError("down"), lambda: Odd(1, 2)], ids=["plain", "odd"]
)
def test_each_caller_gets_the_error_as_its_own(make: Callable[[], Exception]) -> None:
    world = World()
    world.origin.takes = 1.0
    error = make()
    error.add_note("from the origin")

    async def fail() -> Response:
        raise error

    world.origin.answer = lambda _: fail()

    async def main() -> list[BaseException | Reply]:
        clients = [world.client(after=0.1 * number) for number in range(3)]
        return await asyncio.gather(*clients, return_exceptions=True)

    results = world.run(main())
    assert results[0] is error
    for result in results[1:]:
        assert isinstance(result, type(error))
        assert str(result) == str(error)
        if isinstance(error, BackendError):
            result.add_note("from a client")
            assert result.__cause__ is error
        else:
            assert result.__cause__ is None
    assert error.__notes__ == ["from the origin"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_leaders_own_limit_is_not_the_others(seed: int) -> None:
    world = World(seed)
    world.origin.takes = 1.0

    async def answer(request: HttpRequest) -> Response:
        if world.origin.count == 1:
            raise RateLimited("limit", "used up", 1.0)
        return world.origin.page(request)

    world.origin.answer = answer

    async def main() -> None:
        leader = world.client()
        await world.sleep(0.1)
        others = [world.client() for _ in range(4)]
        with pytest.raises(RateLimited):
            await leader
        assert {reply.status for reply in await asyncio.gather(*others)} == {200}

    world.run(main())
    assert world.origin.count == 2


def test_the_leaders_deadline_is_not_the_others() -> None:
    world = World()
    world.origin.takes = 2.0
    hasty = Stack(Deadline("1s"), world.cache)

    async def main() -> None:
        cache, world.cache = world.cache, hasty  # type: ignore[assignment]
        leader = world.client()
        await world.sleep(0.1)
        world.cache = cache
        other = world.client()
        with pytest.raises(DeadlineExceeded):
            await leader
        assert (await other).at == 3.0

    world.run(main())
    assert world.origin.count == 2


def test_a_failure_before_the_leaders_deadline_is_everyones() -> None:
    world = World()
    world.origin.takes = 1.0

    async def fail() -> Response:
        raise BackendError("down")

    world.origin.answer = lambda _: fail()

    async def hasty() -> Reply:
        shorten(1.5)
        return await world.get()

    async def main() -> None:
        clients = [world.runtime.spawn(hasty()), world.client(), world.client()]
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert {type(result) for result in results} == {BackendError}

    world.run(main())
    assert world.origin.count == 1


def test_what_is_no_response_is_not_waited_for_one_after_another() -> None:
    world = World()

    async def thing() -> str:
        await world.sleep(1)
        return "thing"

    async def ask() -> tuple[str, float]:
        with serving(HttpRequest("GET", b"/", [], host=b"shop")):
            return await world.cache.acall(thing), world.runtime.now()

    async def main() -> None:
        results = await asyncio.gather(*(ask() for _ in range(4)))
        assert results == [("thing", 1.0), ("thing", 2.0), ("thing", 2.0), ("thing", 2.0)]

    world.run(main())


def test_a_waiters_deadline_ends_its_wait_only() -> None:
    world = World()
    world.origin.takes = 3.0
    hasty = Stack(Deadline("1s"), world.cache)

    async def main() -> None:
        cache = world.cache
        leader = world.client()
        await world.sleep(0.5)
        world.cache = hasty  # type: ignore[assignment]
        waiter = world.client()
        await world.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await waiter
        assert world.runtime.now() == 1.5
        world.cache = cache
        assert (await leader).at == 3.0

    world.run(main())
    assert world.origin.count == 1


def test_a_deadline_that_nobody_enforces_ends_the_wait_too() -> None:
    world = World()
    world.origin.takes = 3.0

    async def hasty() -> Reply:
        shorten(1.0)
        return await world.get()

    async def main() -> None:
        leader = world.client()
        await world.sleep(0.5)
        with pytest.raises(DeadlineExceeded):
            await world.runtime.spawn(hasty())
        assert world.runtime.now() == 1.0
        assert (await leader).at == 3.0

    world.run(main())
    assert world.origin.count == 1
    assert world.counts("misses", "coalesced") == [1, 1]


def test_patience_that_ends_before_the_deadline_leaves_time_for_a_load_of_ones_own() -> None:
    world = World(wait="1s")

    async def hasty() -> Reply:
        shorten(1.5)
        return await world.get()

    async def main() -> None:
        world.origin.takes = 100.0
        stuck = world.client()
        await world.sleep(0)
        world.origin.takes = 0.25
        assert (await world.runtime.spawn(hasty())).at == 1.25
        await stuck

    world.run(main())


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_failed_answer_is_shared_as_its_status_only(status: int) -> None:
    world = World()
    world.origin.takes = 1.0
    world.origin.answer = lambda _: Response(
        status, [(b"retry-after", b"7"), (b"x-user", b"1")], b"dear Mr. Smith"
    )

    async def main() -> None:
        clients = [world.client(after=0.1 * number) for number in range(4)]
        first, *others = await asyncio.gather(*clients)
        assert first.body == b"dear Mr. Smith"
        for reply in others:
            assert (reply.status, reply.headers[b"retry-after"]) == (status, b"7")
            assert b"x-user" not in reply.headers
            assert b"Smith" not in reply.body
        world.origin.answer = world.origin.page
        replies = await asyncio.gather(world.client(), world.client())
        assert {reply.note for reply in replies} == {"miss", "coalesced"}  # it waits again

    world.run(main())
    assert world.origin.count == 2


def test_answers_that_cannot_be_shared_are_not_waited_for_one_after_another() -> None:
    world = World()
    world.origin.takes = 1.0
    world.origin.headers = [(b"cache-control", b"private")]

    async def main() -> None:
        replies = await asyncio.gather(*(world.client() for _ in range(10)))
        assert sorted(reply.at for reply in replies) == [1.0] + [2.0] * 9
        replies = await asyncio.gather(*(world.client() for _ in range(10)))
        assert {reply.at for reply in replies} == {3.0}  # nobody waits for anybody now
        await world.sleep(10)
        world.origin.headers = [FRESH]
        await asyncio.gather(*(world.client() for _ in range(10)))
        assert world.origin.count == 21  # and after a while they try again

    world.run(main())


def test_answers_that_are_stale_at_once_are_verified_side_by_side() -> None:
    world = World()
    world.origin.takes = 1.0
    world.origin.headers = [(b"cache-control", b"no-cache")]

    async def main() -> None:
        await world.get()
        replies = await asyncio.gather(*(world.client() for _ in range(5)))
        assert {(reply.note, reply.at) for reply in replies} == {("revalidated", 2.0)}

    world.run(main())


def test_one_that_can_be_shared_after_all_is_waited_for_again() -> None:
    world = World()
    world.origin.takes = 1.0
    world.origin.headers = [(b"cache-control", b"private")]

    async def main() -> None:
        await world.get()
        world.origin.headers = [(b"cache-control", b"max-age=2")]
        await world.get()
        await world.sleep(2)
        replies = await asyncio.gather(*(world.client() for _ in range(5)))
        assert sorted(str(reply.note) for reply in replies) == ["coalesced"] * 4 + ["revalidated"]

    world.run(main())


def test_variants_that_are_not_known_yet_load_once_each() -> None:
    world = World()
    world.origin.takes = 1.0
    world.origin.headers = [FRESH, (b"vary", b"accept-language")]

    async def main() -> None:
        clients = [
            world.client("/", (b"accept-language", language))
            for language in (b"de", b"en", b"fr")
            for _ in range(3)
        ]
        replies = await asyncio.gather(*clients)
        assert sorted(reply.at for reply in replies) == [1.0] * 3 + [2.0] * 6

    world.run(main())
    assert world.origin.count == 3


@pytest.mark.parametrize(
    "line",
    [
        (b"authorization", b"x"),
        (b"cache-control", b"no-store"),
        (b"cache-control", b"no-cache"),
        (b"cache-control", b"max-age=0"),
    ],
)
def test_requests_that_share_nothing_go_their_own_ways(line: tuple[bytes, bytes]) -> None:
    world = World()
    world.origin.takes = 1.0

    async def main() -> None:
        replies = await asyncio.gather(*(world.client("/", line) for _ in range(3)))
        assert {reply.at for reply in replies} == {1.0}

    world.run(main())
    assert world.origin.count == 3


def test_who_has_waited_long_enough_asks_once_more_for_all() -> None:
    world = World(wait="1s")

    async def answer(request: HttpRequest) -> Response:
        await world.sleep(100 if world.origin.count == 1 else 0.5)
        return world.origin.page(request)

    world.origin.answer = answer

    async def main() -> None:
        stuck = world.client()
        replies = await asyncio.gather(*(world.client(after=0.1) for _ in range(10)))
        assert {reply.at for reply in replies} == {1.6}
        assert world.origin.count == 2
        assert (await stuck).at == 100

    world.run(main())


def test_a_slow_load_may_still_be_stored_if_nothing_changed() -> None:
    world = World(wait="1s")
    world.origin.takes = 3.0

    async def main() -> None:
        await asyncio.gather(world.client(), world.client(after=0.1))
        assert (await world.get()).note == "hit"

    world.run(main())
    assert world.origin.count == 2


def test_each_waiters_condition_is_its_own() -> None:
    world = World()
    world.origin.takes = 1.0

    async def main() -> None:
        known = (b"if-none-match", b'"v1"')
        replies = await asyncio.gather(
            world.client("/", known), world.client(), world.client("/", known)
        )
        assert [reply.status for reply in replies] == [304, 200, 304]
        assert [reply.note for reply in replies] == ["miss", "coalesced", "coalesced"]

    world.run(main())


def test_a_client_that_wants_something_younger_asks_itself() -> None:
    world = World()
    world.origin.takes = 1.0
    world.origin.headers = [FRESH, (b"age", b"30")]

    async def main() -> None:
        replies = await asyncio.gather(
            world.client(), world.client("/", (b"cache-control", b"max-age=10"))
        )
        assert [reply.note for reply in replies] == ["miss", "revalidated"]

    world.run(main())

"""RFC 5861: an old answer at once while someone asks, or instead of a failure."""

from __future__ import annotations

import asyncio

import pytest
from tests.http.cache_world import World

from escala.errors import BackendError, CircuitOpen, DeadlineExceeded
from escala.http.message import HttpRequest, Response
from escala.kernel.context import serving
from escala.kernel.stack import Stack
from escala.resilience.deadline import Deadline

SWR = [(b"cache-control", b"max-age=60, stale-while-revalidate=30")]
SIE = [(b"cache-control", b"max-age=60, stale-if-error=600")]
FAILURES = [BackendError("down"), CircuitOpen("breaker", "open", 5.0), DeadlineExceeded("late")]


def failing(error: Exception) -> Response:
    raise error


@pytest.mark.parametrize("seed", range(4))
def test_a_stale_answer_is_given_at_once_while_one_load_runs(seed: int) -> None:
    world = World(seed)
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        world.origin.version, world.origin.takes = 2, 2.0
        await world.sleep(70)
        replies = await asyncio.gather(*(world.client(after=0.1 * at) for at in range(10)))
        assert [(reply.note, reply.body) for reply in replies] == [("stale", b"version 1")] * 10
        assert replies[0].at == 70
        assert replies[0].headers[b"age"] == b"70"
        await world.sleep(2)
        assert (await world.get()).body == b"version 2"

    world.run(main())
    assert world.origin.count == 2
    assert world.counts("misses", "stale", "hits") == [1, 10, 1]


def test_the_refresh_asks_a_question_of_its_own() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        await world.sleep(70)
        request, response = await world.raw("/", (b"if-none-match", b'"v0"'), (b"x", b"1"))
        await world.sleep(1)
        assert response.status == 200
        assert request.headers == [(b"if-none-match", b'"v0"'), (b"x", b"1")]
        assert request.notes == {"cache": "stale"}
        assert (await world.get()).headers[b"age"] == b"1"

    world.run(main())
    assert world.origin.asked[1].headers == {b"if-none-match": b'"v1"', b"x": b"1"}
    assert world.counts("misses", "revalidated", "stale", "hits") == [1, 0, 1, 1]


def test_after_the_window_everyone_waits() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        await world.sleep(90)
        assert (await world.get()).note == "revalidated"

    world.run(main())


def test_head_gets_the_stale_answer_and_refreshes_nothing() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        await world.sleep(70)
        assert (await world.get(method="HEAD")).note == "stale"

    world.run(main())
    assert world.origin.count == 1


def test_the_refresh_is_not_bound_by_the_deadline_of_whoever_caused_it() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        world.origin.version, world.origin.takes = 2, 3.0
        await world.sleep(70)
        with serving(HttpRequest("GET", b"/", [], host=b"shop")):
            await Stack(Deadline("1s"), world.cache, Deadline("4s")).acall(world.origin)
        await world.sleep(3.5)
        assert (await world.get()).body == b"version 2"

    world.run(main())


def test_a_refresh_that_hangs_ends_with_the_patience_for_it() -> None:
    world = World(wait="5s")
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        world.origin.takes = 1000.0
        await world.sleep(61)
        await world.get()
        await world.sleep(5.5)
        assert world.origin.busy == 0
        assert (await world.get()).note == "stale"  # and asking pauses a moment
        assert world.origin.count == 2
        await world.sleep(1)
        await world.get()
        await world.sleep(1)
        assert world.origin.count == 3
        await world.sleep(5)

    world.run(main())


@pytest.mark.parametrize("error", [*FAILURES, KeyError(1)])
def test_a_refresh_that_fails_is_tried_again_after_a_pause(error: Exception) -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(error)
        await world.sleep(61)
        for _ in range(20):
            assert (await world.get()).note == "stale"
            await world.sleep(0.1)
        assert 2 <= world.origin.count - 1 <= 3
        world.origin.answer = world.origin.page
        await world.sleep(1)
        await world.get()
        await world.sleep(1)
        assert (await world.get()).note == "hit"

    world.run(main())


def test_a_refresh_dies_with_its_loop_and_leaves_no_flight() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        await world.sleep(70)
        world.origin.takes = 100.0
        await world.get()
        await world.sleep(1)

    world.run(main())
    assert world.origin.count == 2


def test_a_refresh_that_ends_before_it_begins_leaves_no_flight() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        await world.sleep(70)
        await world.get()
        (refreshing,) = world.cache._leader._refreshing
        refreshing.cancel()
        await world.sleep(1)
        assert world.origin.count == 1
        await world.get()
        await world.sleep(1)
        assert (await world.get()).note == "hit"

    world.run(main())


def test_a_refresh_that_streams_is_read_to_its_end() -> None:
    world = World()
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: world.origin.stream(b"new ", b"page", every=0.5)
        await world.sleep(70)
        await world.get()
        await world.sleep(2)
        assert (await world.get()).body == b"new page"

    world.run(main())


def test_a_refresh_that_brings_what_cannot_be_kept_lets_go_of_it() -> None:
    world = World(max_body=100)
    world.origin.headers = SWR

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: world.origin.stream(b"x" * 200, length=200)
        await world.sleep(70)
        await world.get()
        await world.sleep(0.5)
        assert world.origin.pipe.abandoned
        assert world.counts("entries") == [0]

    world.run(main())


def test_in_a_thread_the_first_one_asks_and_pays() -> None:
    world = World()
    world.origin.headers = SWR
    calls = 0

    def page() -> Response:
        nonlocal calls
        calls += 1
        return Response(200, SWR, b"version %d" % calls)

    def get() -> str:
        request = HttpRequest("GET", b"/", [], host=b"shop")
        with serving(request):
            body = world.cache.call(page).body
        assert body == b"version %d" % calls
        return request.notes["cache"]

    async def main() -> None:
        assert get() == "miss"
        await world.sleep(70)
        assert get() == "miss"
        assert get() == "hit"

    world.run(main())


@pytest.mark.parametrize("error", FAILURES)
def test_a_failure_is_answered_with_what_was_true_before(error: Exception) -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(error)
        await world.sleep(100)
        reply = await world.get()
        assert (reply.status, reply.body, reply.note) == (200, b"version 1", "stale")
        assert reply.headers[b"age"] == b"100"
        await world.sleep(560)
        with pytest.raises(type(error)):
            await world.get()

    world.run(main())


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failed_answer_likewise(status: int) -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.headers = []
        world.origin.answer = lambda _: Response(
            status, [], world.origin.stream(b"sorry").body, length=5
        )
        await world.sleep(100)
        assert (await world.get()).note == "stale"
        assert world.origin.pipe.abandoned  # what no one reads is let go of
        await world.sleep(560)
        assert (await world.get()).status == status

    world.run(main())


@pytest.mark.parametrize("status", [501, 404, 429])
def test_other_answers_are_no_failures(status: int) -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: Response(status, [])
        await world.sleep(100)
        assert (await world.get()).status == status

    world.run(main())


def test_a_bug_is_no_failure_of_the_origin() -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(KeyError(1))
        await world.sleep(100)
        with pytest.raises(KeyError):
            await world.get()

    world.run(main())


def test_all_who_waited_are_rescued() -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.takes = 1.0
        await world.sleep(100)
        for answer in (lambda _: failing(BackendError("down")), lambda _: Response(502, [])):
            world.origin.answer = answer
            replies = await asyncio.gather(*(world.client() for _ in range(5)))
            assert {(reply.status, reply.note) for reply in replies} == {(200, "stale")}
            await world.sleep(10)

    world.run(main())
    assert world.origin.count == 3


def test_an_outage_is_not_asked_by_every_request() -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(BackendError("down"))
        await world.sleep(100)
        for _ in range(100):
            assert (await world.get()).note == "stale"
            await world.sleep(0.1)
        assert world.origin.count - 1 <= 11
        world.origin.answer = world.origin.page
        await world.sleep(1)
        assert (await world.get()).note == "revalidated"

    world.run(main())


@pytest.mark.parametrize(
    "control",
    [
        b"max-age=60, must-revalidate, stale-if-error=600",
        b"max-age=60, proxy-revalidate, stale-if-error=600",
        b"s-maxage=60",
        b"no-cache, stale-if-error=600",
    ],
)
def test_who_forbids_stale_answers_gets_the_failure(control: bytes) -> None:
    world = World(stale_if_error=1000, stale_while_revalidate=1000)
    world.origin.headers = [(b"cache-control", control)]

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(BackendError("down"))
        await world.sleep(100)
        with pytest.raises(BackendError):
            await world.get()

    world.run(main())


def test_a_client_that_wants_no_cache_gets_the_failure() -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(BackendError("down"))
        with pytest.raises(BackendError):
            await world.get("/", (b"cache-control", b"no-cache"))

    world.run(main())


def test_the_owner_may_allow_it_for_answers_that_say_nothing() -> None:
    world = World(stale_if_error="10m")

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(BackendError("down"))
        await world.sleep(600)
        assert (await world.get()).note == "stale"
        assert (await world.get(method="HEAD")).note == "stale"
        await world.sleep(60)
        with pytest.raises(BackendError):
            await world.get()

    world.run(main())


@pytest.mark.parametrize("error", [BackendError("down"), None])
def test_head_is_rescued_too(error: Exception | None) -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: failing(error) if error else Response(503, [])
        await world.sleep(100)
        reply = await world.get(method="HEAD")
        assert (reply.status, reply.note) == (200, "stale")
        await world.sleep(600)
        if error is None:
            assert (await world.get(method="HEAD")).status == 503
        else:
            with pytest.raises(BackendError):
                await world.get(method="HEAD")
        assert world.counts("misses", "stale") == [2, 1]

    world.run(main())


def test_a_no_store_request_is_rescued_too() -> None:
    world = World()
    world.origin.headers = SIE

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: Response(503, [], world.origin.stream(b"sorry").body)
        await world.sleep(100)
        assert (await world.get("/", (b"cache-control", b"no-store"))).note == "stale"
        assert world.origin.pipe.abandoned

    world.run(main())


def test_an_answer_that_can_only_rescue_is_kept_for_that() -> None:
    world = World()
    page = Response(200, [(b"cache-control", b"max-age=0, stale-if-error=600")], b"page")
    world.origin.answer = lambda _: page

    async def main() -> None:
        await world.get()
        assert (await world.get()).note == "miss"
        world.origin.answer = lambda _: failing(BackendError("down"))
        assert (await world.get()).body == b"page"

    world.run(main())

"""What a change does: to stored answers, and to those that are being loaded at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.cache_world import FRESH, Reply, World

from escala.errors import BackendError, BulkheadFull
from escala.http.message import HttpRequest, Response

UNSAFE = ["POST", "PUT", "DELETE", "PATCH", "BREW"]


def write(world: World, status: int = 200, *headers: tuple[bytes, bytes]) -> None:
    """From now on unsafe requests make a new version when they are done."""

    async def change() -> Response:
        if status < 400:
            world.origin.version += 1
        return Response(status, list(headers))

    def answer(request: HttpRequest) -> object:
        return change() if request.method in UNSAFE else world.origin.page(request)

    world.origin.answer = answer  # type: ignore[assignment]


@pytest.mark.parametrize("method", UNSAFE)
@pytest.mark.parametrize("status", [200, 204, 303])
def test_a_change_that_succeeds_ends_what_was_stored(method: str, status: int) -> None:
    world = World(stale_if_error=1000)
    write(world, status)

    async def main() -> None:
        await world.get("/a")
        await world.get("/b")
        assert (await world.get("/a", method=method)).note == "bypass"
        assert world.counts("entries") == [1]
        assert (await world.get("/a")).body == b"version 2"
        assert (await world.get("/b")).note == "hit"

    world.run(main())


def test_all_variants_end() -> None:
    world = World()
    world.origin.headers = [FRESH, (b"vary", b"accept-language")]
    write(world)

    async def main() -> None:
        for language in (b"de", b"en"):
            await world.get("/", (b"accept-language", language))
        await world.get("/", (b"accept-language", b"fr"), method="PUT")
        assert world.counts("entries") == [0]

    world.run(main())


@pytest.mark.parametrize("name", [b"location", b"content-location"])
def test_what_the_change_names_ends_too_on_the_same_origin(name: bytes) -> None:
    world = World()

    async def main() -> None:
        for target in ("/orders", "/orders/7", "/orders/8"):
            await world.get(target)
        await world.get("/orders/7", host=b"other")
        write(world, 201, (name, b"http://shop/orders/7"))
        await world.get("/orders", method="POST")
        assert (await world.get("/orders")).note == "miss"
        assert (await world.get("/orders/7")).note == "miss"
        assert (await world.get("/orders/8")).note == "hit"
        assert (await world.get("/orders/7", host=b"other")).note == "hit"
        write(world, 201, (name, b"http://other/orders/7"))
        await world.get("/orders", method="POST")
        assert (await world.get("/orders/7", host=b"other")).note == "hit"

    world.run(main())


@pytest.mark.parametrize("status", [400, 404, 409, 503])
def test_a_change_that_was_refused_ends_nothing(status: int) -> None:
    world = World()
    write(world, status)

    async def main() -> None:
        await world.get()
        await world.get(method="POST")
        assert (await world.get()).note == "hit"

    world.run(main())


def test_a_change_that_never_ran_ends_nothing() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        world.origin.answer = refuse
        with pytest.raises(BulkheadFull):
            await world.get(method="POST")
        assert (await world.get()).note == "hit"

    def refuse(_: HttpRequest) -> Response:
        raise BulkheadFull("slots", "full")

    world.run(main())


def test_a_change_that_was_refused_after_a_first_try_may_have_happened() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        world.origin.answer = try_and_refuse
        with pytest.raises(BulkheadFull):
            await world.get(method="PUT")
        world.origin.answer = world.origin.page
        assert (await world.get()).note == "revalidated"

    def try_and_refuse(request: HttpRequest) -> Response:
        request.tried = ("a target",)
        raise BulkheadFull("slots", "full")

    world.run(main())


@pytest.mark.parametrize("how", ["500", "504", "error", "cancelled"])
def test_after_a_change_of_unknown_fate_old_answers_are_a_last_resort(how: str) -> None:
    world = World(stale_if_error=1000, stale_while_revalidate=1000)

    async def answer() -> Response:
        if how == "error":
            raise BackendError("broke off")
        if how == "cancelled":
            await world.sleep(100)
        return Response(int(how), [])

    async def main() -> None:
        await world.get("/a")
        await world.get("/b")
        world.origin.answer = lambda _: answer()
        task = world.client("/a", method="POST")
        await world.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.origin.answer = world.origin.page
        assert (await world.get("/b")).note == "hit"
        assert (await world.get("/a")).note == "revalidated"  # asked about before it is given
        world.origin.answer = lambda _: answer()
        task = world.client("/a", method="POST")
        await world.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.origin.answer = lambda _: Response(502, [])
        assert (await world.get("/a")).note == "stale"  # no one can be asked

    world.run(main())


def test_a_load_overtaken_by_a_change_answers_its_callers_and_is_not_stored() -> None:
    """Hazard H1: read the old version, let someone change it, store the old version."""
    world = World()
    write(world)

    async def main() -> None:
        world.origin.takes = 5.0
        early = [world.client(), world.client()]
        await world.sleep(1)
        world.origin.takes = 1.0
        await world.get(method="PUT")
        late = world.client()
        assert (await late).body == b"version 2"
        assert (await late).at == 3.0  # it did not join the old load
        assert [reply.body for reply in await asyncio.gather(*early)] == [b"version 1"] * 2
        reply = await world.get()
        assert (reply.body, reply.note) == (b"version 2", "hit")

    world.run(main())


def test_a_verification_overtaken_by_a_change_is_not_stored() -> None:
    world = World()
    write(world)

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        world.origin.takes = 5.0
        verified = world.client()
        await world.sleep(1)
        world.origin.takes = 1.0
        await world.get(method="PUT")
        assert (await verified).note == "revalidated"
        assert world.counts("entries") == [0]
        assert (await world.get()).body == b"version 2"

    world.run(main())


def test_a_body_overtaken_by_a_change_is_not_stored() -> None:
    world = World()

    async def main() -> None:
        world.origin.answer = lambda _: world.origin.stream(b"old", b"er")
        reading = world.client()
        await world.sleep(1.5)
        world.origin.answer = lambda _: Response(200, [])
        await world.get(method="PUT")
        assert (await reading).body == b"older"
        assert world.counts("entries") == [0]

    world.run(main())


def test_a_load_that_no_one_shares_is_overtaken_too() -> None:
    world = World()
    write(world)

    async def main() -> None:
        world.origin.takes = 5.0
        reading = world.client("/", (b"cache-control", b"no-cache"))
        await world.sleep(1)
        world.origin.takes = 1.0
        await world.get(method="PUT")
        assert (await reading).body == b"version 1"
        assert world.counts("entries") == [0]

    world.run(main())


def test_a_load_that_took_too_long_is_overtaken_too() -> None:
    """Whoever gave up waiting began another load: neither may bring the old version back."""
    world = World(wait="1s")
    write(world)

    async def main() -> None:
        world.origin.takes = 5.0
        loads = [world.client(), world.client(after=0.1)]
        await world.sleep(2)
        assert world.origin.count == 2
        world.origin.takes = 0.5
        await world.get(method="PUT")
        assert {reply.body for reply in await asyncio.gather(*loads)} == {b"version 1"}
        assert world.counts("entries") == [0]

    world.run(main())


def test_what_was_forgotten_does_not_come_back_as_a_rescue() -> None:
    """Hazard H7: a change while a verification runs that then fails."""
    world = World(stale_if_error=1000)
    write(world)

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        world.origin.takes = 5.0
        verifying = [world.client(), world.client()]
        await world.sleep(1)
        world.origin.takes = 0.0
        await world.get(method="PUT")
        results = await asyncio.gather(*verifying, return_exceptions=True)
        assert [type(result) for result in results] == [BackendError] * 2

    original = world.origin.page

    def page(request: HttpRequest) -> object:
        async def fail() -> Response:
            raise BackendError("down")

        return fail() if world.runtime.now() == 61 else original(request)

    world.origin.page = page  # type: ignore[assignment, method-assign]
    world.run(main())


@pytest.mark.parametrize("forget", ["/", "/?", "http://SHOP:80/"])
def test_an_owner_can_forget_one_answer(forget: str) -> None:
    world = World()
    url = forget if forget.startswith("http") else f"http://shop{forget}"

    async def main() -> None:
        await world.get("/")
        await world.get("/?x=1")
        world.origin.takes = 5.0
        loading = world.client("/", (b"cache-control", b"no-cache"))
        await world.sleep(1)
        world.cache.forget(url)
        await loading
        assert world.counts("entries") == [1]
        assert (await world.get("/?x=1")).note == "hit"
        world.cache.forget("http://shop/?x=1")
        assert world.counts("entries") == [0]

    world.run(main())


def test_an_owner_can_forget_everything() -> None:
    world = World()

    async def main() -> None:
        await world.get("/a")
        world.origin.takes = 5.0
        loading = world.client("/b")
        await world.sleep(1)
        world.cache.clear()
        await loading
        assert world.counts("entries", "bytes") == [0, 0]

    world.run(main())


steps = st.lists(
    st.tuples(st.sampled_from(["get", "get", "put", "refresh"]), st.integers(0, 12)),
    min_size=2,
    max_size=25,
)


@given(steps=steps, seed=st.integers(0, 50), takes=st.lists(st.integers(0, 9), min_size=1))
def test_no_one_gets_what_was_old_before_he_asked(
    steps: list[tuple[str, int]], seed: int, takes: list[int]
) -> None:
    """Linearizable per key: a reply is at least as new as every change finished before the ask."""
    world = World(seed, wait=1000)
    write(world)
    turn = 0

    def slowly(answer: Callable[[HttpRequest], object]) -> Callable[[HttpRequest], object]:
        def answered(request: HttpRequest) -> object:
            nonlocal turn
            turn += 1
            world.origin.takes = takes[turn % len(takes)] / 4
            return answer(request)

        return answered

    world.origin.answer = slowly(world.origin.answer)  # type: ignore[assignment]

    async def read(control: bytes) -> tuple[int, Reply]:
        known = world.origin.version
        return known, await world.get("/", (b"cache-control", control))

    async def main() -> list[tuple[int, Reply]]:
        reads, writes = [], []
        for what, pause in steps:
            await world.sleep(pause / 4)
            if what == "put":
                writes.append(world.client(method="PUT"))
            else:
                control = b"no-cache" if what == "refresh" else b"max-age=1000"
                reads.append(world.runtime.spawn(read(control)))
        await asyncio.gather(*writes)
        return await asyncio.gather(*reads)

    for known, reply in world.run(main()):
        assert int(reply.body.split()[1]) >= known

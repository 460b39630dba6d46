"""Bodies that arrive piece by piece: to the one who asked at once, to the others when complete."""

from __future__ import annotations

import asyncio

import pytest
from tests.http.cache_world import FRESH, World

from escala.http.message import Response
from escala.http.stream import Stream


def test_the_reader_gets_the_pieces_as_they_come_and_the_next_one_all_of_it() -> None:
    world = World()
    world.origin.answer = lambda _: world.origin.stream(b"one ", b"two")

    async def main() -> None:
        _, response = await world.raw()
        assert world.runtime.now() == 0
        assert isinstance(response.body, Stream)
        pieces = [(world.runtime.now(), chunk) async for chunk in response.body]
        assert pieces == [(1, b"one "), (2, b"two")]
        reply = await world.get()
        assert (reply.body, reply.note) == (b"one two", "hit")

    world.run(main())
    assert world.origin.count == 1


def test_what_has_arrived_already_is_a_whole_answer() -> None:
    world = World()

    def answer(_: object) -> Response:
        body = Stream(world.origin.pipe)
        body.feed(b"one ")
        body.feed(b"two")
        body.finish()
        return Response(200, [FRESH, (b"etag", b'"v1"')], body)

    world.origin.answer = answer

    async def main() -> None:
        _, response = await world.raw("/", (b"if-none-match", b'"v1"'))
        assert response.status == 304
        _, response = await world.raw("/other")
        assert response.body == b"one two"
        assert (await world.get()).body == b"one two"

    world.run(main())


def test_what_has_broken_off_already_is_an_error_not_half_an_answer() -> None:
    world = World()

    def answer(_: object) -> Response:
        body = Stream(world.origin.pipe)
        body.feed(b"one ")
        body.fail(ConnectionResetError("gone"))
        return Response(200, [FRESH], body)

    world.origin.answer = answer

    async def main() -> None:
        with pytest.raises(ConnectionResetError):
            await world.raw()

    world.run(main())


def test_those_who_wait_get_it_when_it_is_complete() -> None:
    world = World()
    world.origin.answer = lambda _: world.origin.stream(b"one ", b"two")

    async def main() -> None:
        replies = await asyncio.gather(*(world.client(after=0.5 * at) for at in range(4)))
        assert {(reply.body, reply.at) for reply in replies} == {(b"one two", 3.0)}
        assert [reply.note for reply in replies] == ["miss"] + ["coalesced"] * 3

    world.run(main())
    assert world.origin.count == 1


def test_a_slow_reader_holds_up_no_one() -> None:
    world = World()
    world.origin.answer = lambda _: world.origin.stream(b"one ", b"two")

    async def main() -> None:
        _, response = await world.raw()  # and reads nothing
        assert (await world.get()).at == 3.0
        assert isinstance(response.body, Stream)
        assert b"".join([chunk async for chunk in response.body]) == b"one two"

    world.run(main())


def test_a_body_that_breaks_off_is_loaded_again_by_one_who_waited() -> None:
    world = World()
    world.origin.answer = lambda _: world.origin.stream(b"one ", broken=world.origin.count == 1)

    async def main() -> None:
        leader = world.client()
        others = [world.client(after=0.5) for _ in range(3)]
        with pytest.raises(ConnectionResetError):
            await leader
        replies = await asyncio.gather(*others)
        assert [reply.body for reply in replies] == [b"one "] * 3

    world.run(main())
    assert world.origin.count == 2


def test_a_reader_that_goes_away_hands_over() -> None:
    world = World()
    world.origin.answer = lambda _: world.origin.stream(b"one ", b"two")

    async def main() -> None:
        _, response = await world.raw()
        others = [world.client(after=0.5) for _ in range(3)]
        await world.sleep(1.5)
        response.discard()
        assert world.origin.pipe.abandoned
        replies = await asyncio.gather(*others)
        assert {(reply.body, reply.at) for reply in replies} == {(b"one two", 4.5)}

    world.run(main())
    assert world.origin.count == 2


@pytest.mark.parametrize("length", [3, 100])
def test_a_body_that_is_not_as_long_as_announced_is_not_stored(length: int) -> None:
    world = World()
    world.origin.answer = lambda _: world.origin.stream(b"one ", length=length)

    async def main() -> None:
        await world.get()
        assert (await world.get()).note == "miss"

    world.run(main())
    assert world.counts("entries") == [0]


def test_a_body_announced_as_too_large_is_not_waited_for() -> None:
    world = World(max_body=5)
    world.origin.answer = lambda _: world.origin.stream(b"123", b"456", length=6)

    async def main() -> None:
        replies = await asyncio.gather(world.client(), world.client())
        assert [reply.at for reply in replies] == [3.0, 3.0]
        assert {reply.body for reply in replies} == {b"123456"}

    world.run(main())
    assert world.counts("entries") == [0]


def test_a_body_that_grows_too_large_sends_those_who_wait_their_own_ways() -> None:
    world = World(max_body=5)
    world.origin.answer = lambda _: world.origin.stream(b"123", b"456", b"7")

    async def main() -> None:
        replies = await asyncio.gather(world.client(), world.client(), world.client())
        assert [reply.at for reply in replies] == [4.0, 6.0, 6.0]  # known after 2 s
        assert {reply.body for reply in replies} == {b"1234567"}

    world.run(main())
    assert world.origin.count == 3


def test_bodies_under_way_are_bounded_together() -> None:
    world = World(size=4000, max_body=400)
    chunk = b"x" * 300  # three of them are under way at most: a quarter of the size
    world.origin.answer = lambda _: world.origin.stream(chunk, every=1.0)
    most = 0.0

    async def watch() -> None:
        nonlocal most
        for _ in range(30):
            most = max(most, world.counts("collecting")[0])
            await world.sleep(0.1)

    async def main() -> None:
        watching = world.runtime.spawn(watch())
        clients = [world.client(f"/{number}") for number in range(10)]
        assert {reply.body for reply in await asyncio.gather(*clients)} == {chunk}
        await watching
        # Those for which there was no room are not held to be unfit for sharing.
        world.origin.answer, world.origin.takes = world.origin.page, 1.0
        replies = await asyncio.gather(world.client("/9"), world.client("/9"))
        assert sorted(str(reply.note) for reply in replies) == ["coalesced", "miss"]

    world.run(main())
    assert most == 900


def test_a_body_that_cannot_be_stored_passes_untouched() -> None:
    world = World()
    world.origin.headers = [(b"cache-control", b"no-store")]
    made: list[Response] = []

    def answer(_: object) -> Response:
        made.append(world.origin.stream(b"one "))
        return made[-1]

    world.origin.answer = answer

    async def main() -> None:
        inner = None
        _, response = await world.raw()
        inner = made[0].body
        assert response.body is inner
        response.discard()

    world.run(main())

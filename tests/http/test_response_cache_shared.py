"""Several workers with one second level: what one has loaded is a hit for the others."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.http.cache_world import FRESH
from tests.http.shared_world import (
    ENGLISH,
    GERMAN,
    KEY,
    Between,
    another,
    beside,
    changing,
    settled,
    worlds,
)

from escala.errors import BackendError, ConfigError, DeadlineExceeded
from escala.http.message import HttpRequest, Response
from escala.http.response_cache import ResponseCache
from escala.kernel.context import serving
from escala.kernel.policy import Scope
from escala.kernel.stack import Stack
from escala.kernel.units import PositiveDuration
from escala.resilience.deadline import Deadline


def test_what_one_worker_loads_is_a_hit_for_the_other() -> None:
    a, b = worlds()

    async def main() -> None:
        first = await a.get()
        await a.sleep(10)
        reply = await b.get()
        assert (reply.status, reply.body, reply.note) == (200, b"version 1", "hit")
        assert reply.headers == {**first.headers, b"age": b"10"}
        await a.sleep(49.5)
        assert (await b.get()).note == (await a.get()).note == "hit"
        await a.sleep(0.5)
        a.origin.version = 2
        assert (await b.get()).body == b"version 2"
        await settled(a)
        assert (await a.get()).note == "hit"

    a.run(main())
    assert a.origin.count == 2
    assert b.counts("hits", "l2_hits", "misses") == [2, 1, 1]


def test_what_is_found_is_kept_in_memory() -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        between = Between(b)
        assert (await b.get()).note == "hit"
        assert between.asked == []

    a.run(main())


def test_one_load_for_the_callers_of_all_workers() -> None:
    several = worlds(4)
    a = several[0]
    a.origin.takes = 1.0

    async def main() -> None:
        clients = [world.client() for world in several for _ in range(5)]
        replies = await asyncio.gather(*clients)
        assert {reply.body for reply in replies} == {b"version 1"}
        assert max(reply.at for reply in replies) < 1.2

    a.run(main())
    assert a.origin.count == 1


def test_a_stale_answer_is_renewed_by_one_and_given_by_all_meanwhile() -> None:
    several = worlds(3)
    a = several[0]
    a.origin.headers = [(b"cache-control", b"max-age=10, stale-while-revalidate=100")]

    async def main() -> None:
        await a.get()
        await settled(a)
        await a.sleep(20)
        a.origin.version, a.origin.takes = 2, 3.0
        for world in several:
            reply = await world.get()
            assert (reply.note, reply.body) == ("stale", b"version 1")
        assert a.runtime.now() < 21
        await a.sleep(3.2)
        for world in several:
            reply = await world.get()
            assert reply.body == b"version 2"

    a.run(main())
    assert a.origin.count == 2
    assert a.origin.most_busy == 1


def test_another_workers_stale_answer_is_verified() -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        await a.sleep(70)
        reply = await b.get()
        assert (reply.note, reply.body) == ("revalidated", b"version 1")
        await settled(a)
        reply = await a.get()
        assert (reply.note, reply.headers[b"age"]) == ("hit", b"0")

    a.run(main())
    assert a.origin.asked[1].headers == {b"if-none-match": b'"v1"'}
    assert a.origin.count == 2


def test_when_asking_fails_another_workers_answer_stands_in() -> None:
    a, b = worlds()
    a.origin.headers = [(b"cache-control", b"max-age=10, stale-if-error=100")]

    async def main() -> None:
        await a.get()
        await settled(a)
        await a.sleep(20)
        a.origin.answer = lambda _: Response(503, [])
        assert (await b.get()).note == "stale"
        await a.sleep(91)
        assert (await b.get()).status == 503

    a.run(main())


def test_variants_are_shared_and_kept_apart() -> None:
    a, b = worlds()
    a.origin.headers = [FRESH, (b"vary", b"Accept-Language")]

    async def main() -> None:
        for line in (GERMAN, ENGLISH):
            assert (await a.get("/", line)).note == "miss"
            await settled(a)
        for line in (GERMAN, ENGLISH):
            assert (await b.get("/", line)).note == "hit"
        assert (await b.get("/")).note == "miss"
        await a.get(method="PUT")
        assert b.counts("entries") == [0]
        for line in (GERMAN, ENGLISH):
            assert (await b.get("/", line)).note == "miss"

    a.run(main())


def test_answers_that_begin_to_vary_by_more_are_shared_again() -> None:
    a, b = worlds()
    a.origin.headers = [FRESH, (b"vary", b"accept-language")]
    zipped, plain = (b"accept-encoding", b"gzip"), (b"accept-encoding", b"identity")

    async def load(*lines: tuple[bytes, bytes]) -> str | None:
        reply = await another(a).get("/", *lines)
        await settled(a)
        return reply.note

    async def main() -> None:
        await load(GERMAN)
        await b.get("/", GERMAN)
        a.origin.headers = [FRESH, (b"vary", b"accept-encoding")]
        assert await load(ENGLISH, zipped) == "miss"
        assert b.counts("entries", "l2_heard") == [0, 1]  # nothing of before is to be found
        for line in (zipped, plain):
            assert await load(ENGLISH, line) == "miss"
        for line in (zipped, plain):
            assert await load(ENGLISH, line) == "hit"
        a.origin.headers = [FRESH, (b"vary", b"accept-language")]
        assert await load(GERMAN, zipped) == "miss"
        assert await load(GERMAN, zipped) == "hit"
        a.origin.headers = [FRESH]
        assert await load(GERMAN, plain) == "miss"
        assert await load(GERMAN, plain) == "hit"
        assert b.counts("l2_heard") == [1], "it varies by both from then on"

    a.run(main())


def test_the_age_that_an_answer_came_with_counts_everywhere() -> None:
    a, b = worlds()
    a.origin.headers = [FRESH, (b"age", b"50")]

    async def main() -> None:
        await a.sleep(100)
        await a.get()
        await a.sleep(5)
        reply = await b.get()
        assert (reply.note, reply.headers[b"age"]) == ("hit", b"55")
        await a.sleep(5)
        assert (await b.get()).note == "revalidated"

    a.run(main())


def test_what_a_client_had_loaded_anew_here_is_not_replaced_by_what_was_before() -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await a.sleep(2)
        a.origin.version, a.origin.headers = 2, [(b"cache-control", b"max-age=5")]
        assert (await b.get("/", (b"cache-control", b"no-cache"))).body == b"version 2"
        await a.sleep(6)
        reply = await b.get()
        assert (reply.body, reply.note) == (b"version 2", "revalidated")

    a.run(main())


def test_who_has_waited_for_a_load_here_does_not_wait_for_it_once_more() -> None:
    a, _ = worlds(wait="2s")

    async def main() -> None:
        a.origin.takes = 50.0
        slow = a.client()
        await a.sleep(1)
        a.origin.takes = 0.5
        assert (await a.get()).at == pytest.approx(1 + 2 + 0.5)
        await slow

    a.run(main())


def test_what_is_private_is_not_shared_and_waited_for_once() -> None:
    several = worlds(4)
    a = several[0]
    a.origin.headers = [(b"cache-control", b"private")]
    a.origin.takes = 1.0

    async def main() -> None:
        clients = [world.client() for world in several for _ in range(3)]
        replies = await asyncio.gather(*clients)
        assert max(reply.at for reply in replies) < 2.3  # its own load, after that of one other
        [found] = await beside(a).read([KEY], 0.0, a.runtime)
        assert found.blob is not None
        assert b"version" not in found.blob
        began = a.runtime.now()
        await asyncio.gather(*(world.client() for world in several for _ in range(3)))
        assert a.runtime.now() < began + 1.1

    a.run(main())
    assert a.origin.count == 24
    assert sum(world.counts("entries")[0] for world in several) == 0


def test_one_clients_cookie_makes_nothing_private_for_others() -> None:
    a, b = worlds(ttl="60s")
    a.origin.headers = []

    async def main() -> None:
        await a.get("/", (b"cookie", b"id=1"))
        await settled(a)
        await b.get()
        await settled(a)
        await a.sleep(11)
        assert (await a.get()).note == "hit"

    a.run(main())


@pytest.mark.parametrize(
    "control", [b"no-store", b"private", b"max-age=60, private", b"no-cache, no-store"]
)
def test_what_may_not_be_stored_is_not_in_the_store(control: bytes) -> None:
    a, b = worlds()
    a.origin.headers = [(b"cache-control", control)]

    async def main() -> None:
        assert [(await world.get()).note for world in (a, b, a, b)] == ["miss"] * 4

    a.run(main())
    assert a.origin.count == 4


def test_authorized_requests_get_and_fill_only_what_is_for_all() -> None:
    a, b = worlds()
    secret = (b"authorization", b"Basic x")

    async def main() -> None:
        await a.get("/", secret)
        await settled(a)
        assert (await b.get()).note == "miss"
        await settled(a)
        assert (await another(a).get("/", secret)).note == "miss"
        a.origin.headers = [(b"cache-control", b"public, max-age=60")]
        await a.get("/public")
        await settled(a)
        assert (await b.get("/public", secret)).note == "hit"

    a.run(main())


def test_requests_that_wait_for_no_one_look_there_too() -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        head = await b.get(method="HEAD")
        assert (head.status, head.note, head.length) == (200, "hit", 9)
        only = (b"cache-control", b"only-if-cached")
        assert (await another(a).get("/", only)).note == "hit"
        assert (await another(a).get("/none", only)).status == 504
        for reload in (b"no-cache", b"max-age=0"):
            other = another(a)
            between = Between(other)
            assert (await other.get("/", (b"cache-control", reload))).note == "miss"
            assert between.asked == []

    a.run(main())


def test_a_body_above_the_limit_passes_and_is_not_shared() -> None:
    a, b = worlds(max_body=8)

    async def main() -> None:
        for world in (a, b):
            reply = await world.get()
            assert (reply.body, reply.note) == (b"version 1", "miss")
            await settled(a)

    a.run(main())


def test_a_streamed_body_is_shared_when_it_is_complete() -> None:
    a, b = worlds()
    a.origin.answer = lambda _: a.origin.stream(b"one ", b"two")

    async def main() -> None:
        assert (await a.get()).body == b"one two"
        await settled(a)
        reply = await b.get()
        assert (reply.note, reply.body) == ("hit", b"one two")

    a.run(main())
    assert a.origin.count == 1


def test_a_stream_that_breaks_off_leaves_the_lease_to_others() -> None:
    a, b = worlds()
    a.origin.answer = lambda _: a.origin.stream(b"one ", broken=True)

    async def main() -> None:
        with pytest.raises(ConnectionResetError):
            await a.get()
        await settled(a)
        a.origin.answer = a.origin.page
        began = a.runtime.now()
        assert (await b.get()).body == b"version 1"
        assert a.runtime.now() == began

    a.run(main())


def test_a_load_that_fails_leaves_the_lease_to_others() -> None:
    a, b = worlds()

    def fail(_: HttpRequest) -> Response:
        raise BackendError("broke off")

    async def main() -> None:
        a.origin.answer = fail
        with pytest.raises(BackendError):
            await a.get()
        a.origin.answer = lambda _: Response(500, [])
        assert (await b.get()).status == 500
        await settled(a)
        a.origin.answer = a.origin.page
        began = a.runtime.now()
        await a.get()
        assert a.runtime.now() == began

    a.run(main())


def test_a_body_for_which_there_is_no_room_at_the_moment_keeps_no_lease() -> None:
    a, b = worlds(size="64KiB")
    a.origin.answer = lambda _: a.origin.stream(b"x" * 3000, b"x" * 3000)

    async def main() -> None:
        await asyncio.gather(*(a.client(f"/{number}") for number in range(4)))
        notes = []
        for number in range(4):
            began = a.runtime.now()
            notes.append((await b.get(f"/{number}")).note)
            assert a.runtime.now() < began + 3.5, "nothing but the load itself"
        assert set(notes) == {"hit", "miss"}

    a.run(main())


def test_what_a_load_brings_is_stored_though_its_callers_time_is_up() -> None:
    a, b = worlds()
    Between(a, slow=0.1)
    a.origin.takes = 0.85

    async def main() -> None:
        stack, loaded = Stack(Deadline("1s"), a.cache), []
        for number in range(30):
            request = HttpRequest("GET", b"/%d" % number, [], host=b"shop")
            with serving(request), contextlib.suppress(DeadlineExceeded):
                await stack.acall(a.origin)
                loaded.append(number)
        await a.sleep(1)
        assert len(loaded) > 10
        assert {(await b.get(f"/{number}")).note for number in loaded} == {"hit"}

    a.run(main())


def test_its_options_are_those_of_the_stack_file() -> None:
    options = ResponseCache.Options(l2="memory://shop", max_stale=PositiveDuration("4s"))
    cache = ResponseCache.build(options, Scope(name="/shop", share=2))
    assert (cache.options.l2, cache.options.max_stale) == ("memory://shop", 4.0)
    assert cache._second is not None
    ear = cache._second._ear
    ear.lost()
    assert cache._shared._bound == 2.0, "the other half is how long that may go unnoticed"
    assert cache.snapshot()["l2_deaf"] == 1
    assert "l2_deaf" not in ResponseCache().snapshot()


def test_no_password_is_shown() -> None:
    cache = ResponseCache(l2="redis://me:secret@host:6379/0")
    assert repr(cache) == "ResponseCache(l2='redis://***@host:6379/0')"
    with pytest.raises(ConfigError, match=r"ResponseCache: l2: expected .* found 'nosuch'") as told:
        ResponseCache(l2="nosuch://me:secret@host")
    assert "secret" not in str(told.value)
    with pytest.raises(ConfigError, match="max_stale: expected a duration above zero"):
        ResponseCache(max_stale=0)


def test_who_has_closed_it_trusts_nothing_for_long() -> None:
    a, b = worlds()
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        b.cache.close()
        b.cache.close()
        await a.get(method="PUT")
        await a.sleep(1.1)
        assert (await b.get()).body == b"version 2"

    a.run(main())

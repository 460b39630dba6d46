"""Two workers with one second level: what one has loaded or changed counts for the other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from tests.http.cache_world import FRESH, World
from tests.http.shared_world import Between, beside, level, worlds

from escala.caching.pure.blob import Header, pack
from escala.caching.value_store import Put, Signal
from escala.errors import BackendError, DeadlineExceeded
from escala.http.message import HttpRequest, Response
from escala.kernel.context import serving
from escala.kernel.stack import Stack
from escala.resilience.deadline import Deadline
from escala.testing import cancel_everywhere

GERMAN, ENGLISH = (b"accept-language", b"de"), (b"accept-language", b"en")
KEY = "http://shop/"


def changing(world: World, status: int = 200) -> None:
    """From now on a PUT makes a new version."""

    def answer(request: HttpRequest) -> Response:
        if request.method == "PUT":
            world.origin.version += 1
            return Response(status, [])
        return world.origin.page(request)

    world.origin.answer = answer


async def settled(world: World) -> None:
    """Until what is stored behind the answers' backs is stored."""
    await world.sleep(0.001)


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


def test_a_change_in_one_is_a_change_in_all() -> None:
    a, b = worlds(stale_if_error=1000, stale_while_revalidate=1000)
    changing(a)

    async def main() -> None:
        for _ in range(3):
            await a.get()
            await b.get()
            assert (await a.get(method="PUT")).note == "bypass"
            assert a.counts("entries") == b.counts("entries") == [0]
            [found] = await beside(a).read([KEY], 0.0, a.runtime)
            assert found.blob is None
            reply = await b.get()
            assert (reply.note, reply.body) == ("miss", b"version %d" % a.origin.version)
            await settled(a)

    a.run(main())
    assert b.counts("l2_heard") == [3]


@pytest.mark.parametrize("how", ["forget", "aforget", "clear", "aclear"])
def test_forgetting_is_for_all(how: str) -> None:
    a, b = worlds()

    async def main() -> None:
        for target in ("/", "/other"):
            await a.get(target)
            await settled(a)
            await b.get(target)
        what = [] if "clear" in how else ["http://shop/"]
        done = getattr(a.cache, how)(*what)
        assert (await done if how.startswith("a") else done) is True
        assert (await b.get()).note == "miss"
        assert (await b.get("/other")).note == ("miss" if "clear" in how else "hit")

    a.run(main())


def test_after_a_change_of_unknown_fate_others_ask_first() -> None:
    a, b = worlds(stale_if_error=1000, stale_while_revalidate=1000)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        a.origin.answer = fail
        with pytest.raises(BackendError):
            await a.get(method="POST")
        await settled(a)
        assert (await b.get()).note == "stale"  # the last resort
        a.origin.answer = a.origin.page
        await a.sleep(2)
        assert (await b.get()).note == "revalidated"
        await settled(a)
        assert (await a.get()).note == "hit"

    def fail(_: HttpRequest) -> Response:
        raise BackendError("broke off")

    a.run(main())


@pytest.mark.parametrize("varies", [False, True])
def test_a_load_that_began_before_a_change_is_stored_nowhere(varies: bool) -> None:
    a, b = worlds()
    changing(a)
    a.origin.headers = [FRESH, (b"vary", b"accept-language")] if varies else [FRESH]
    a.origin.takes = 5.0

    async def main() -> None:
        loading = a.client("/", GERMAN)
        await a.sleep(1)
        a.origin.takes = 0.1
        await b.get(method="PUT")
        old = await loading
        assert old.body == b"version 1"  # it asked before
        await settled(a)
        assert a.counts("entries") == b.counts("entries") == [0]
        assert (await b.get("/", GERMAN)).body == b"version 2"
        await settled(a)
        assert (await a.get("/", GERMAN)).body == b"version 2"

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
        reply = await worlds_beside(a).get("/", *lines)
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


def test_after_a_change_of_unknown_fate_variants_are_loaded_anew() -> None:
    a, b = worlds()
    a.origin.headers = [FRESH, (b"vary", b"accept-language")]

    async def main() -> None:
        await a.get("/", GERMAN)
        await settled(a)
        a.origin.answer = lambda _: Response(500, [])
        await a.get(method="POST")
        a.origin.answer = a.origin.page
        assert (await b.get("/", GERMAN)).note == "miss"
        await settled(a)
        assert (await worlds_beside(a).get("/", GERMAN)).note == "hit"

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


def worlds_beside(world: World) -> World:
    return World(l2=world.cache.options.l2, beside=world)


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
        assert (await worlds_beside(a).get("/", secret)).note == "miss"
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
        assert (await worlds_beside(a).get("/", only)).note == "hit"
        assert (await worlds_beside(a).get("/none", only)).status == 504
        for reload in (b"no-cache", b"max-age=0"):
            other = worlds_beside(a)
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


def test_a_lease_that_is_never_given_back_holds_no_one_longer_than_wait() -> None:
    a, b = worlds(wait="3s")

    async def main() -> None:
        [found] = await beside(a).read([KEY], 1000.0, a.runtime)
        assert found.token is not None
        first, second = b.client(), b.client(after=1)
        assert (await first).body == b"version 1"
        assert (await first).at == pytest.approx(3)
        assert (await second).at <= 4.1
        assert (await b.get()).note == "hit"

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


@pytest.mark.parametrize("cut", [0, 3, 60, -1])
def test_bytes_that_are_no_answer_are_a_miss(cut: int) -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        slot = beside(a)._table.slots[KEY]  # type: ignore[attr-defined]
        slot.blob = slot.blob[:cut] + b"?" + slot.blob[cut + 1 or len(slot.blob) :]
        assert (await b.get()).note == "miss"
        await settled(a)
        assert (await worlds_beside(a).get()).note == "hit"

    a.run(main())
    assert b.counts("l2_undecodable")[0] >= 1


def test_a_payload_that_another_program_wrote_is_a_miss_and_is_replaced() -> None:
    [a] = worlds(1)

    async def main() -> None:
        store = beside(a)
        for payload in (b"", b"\xc0", b"\x93\x01\x02\x03", b"\x99" * 1000, b"\xff" * 9):
            [found] = await store.read([KEY], 10.0, a.runtime)
            assert found.token is not None
            header = Header(found.mark, 60.0, 0.0, 0.0, (), negative=False)
            blob = pack(KEY, header, payload)
            assert await store.store([Put(KEY, found.token, blob, 60.0)], a.runtime) == [True]
            assert (await worlds_beside(a).get()).note == "miss"
            await settled(a)
            assert (await worlds_beside(a).get()).note == "hit"
            await store.invalidate([Signal("key", KEY)], a.runtime)

    a.run(main())


# The second level away


def test_while_the_store_is_away_answers_go_on() -> None:
    a, _ = worlds()
    between = Between(a)
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        between.away = True
        assert (await a.get()).note == "hit"
        for number in range(20):
            assert (await a.get(f"/{number}")).note == "miss"
        for number in range(20):
            assert (await a.get(f"/{number}")).note == "hit"
        assert len(between.asked) < 20, "its breaker is open"
        assert a.counts("l2_away") == [1]

    a.run(main())


def test_a_change_that_did_not_reach_the_store_is_told_before_anything_is_read() -> None:
    a, b = worlds()
    between = Between(a)
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        between.away = True
        await a.get(method="PUT")
        assert a.counts("l2_repairs") == [1]
        assert (await a.get()).body == b"version 2", "here it counts at once"
        between.away = False
        await a.sleep(5)
        assert (await a.get("/other")).note == "miss"
        assert a.counts("l2_repairs", "entries") == [0, 2]
        assert (await b.get()).body == b"version 2"

    a.run(main())


def test_a_slow_store_slows_no_hit_in_memory() -> None:
    a, _ = worlds()
    between = Between(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        between.slow = 1000.0
        assert (await a.get()).note == "hit"
        assert a.runtime.now() < 1

    a.run(main())


def test_while_changes_may_be_missed_nothing_in_memory_is_old() -> None:
    a, b = worlds()

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        ear = level(b).ear
        assert ear is not None
        between = Between(b)
        await a.sleep(10)
        ear.lost()
        await a.sleep(0.9)
        assert (await b.get()).note == "hit"
        assert between.asked == []
        await a.sleep(0.2)
        assert (await b.get()).note == "hit"
        assert between.asked == ["read"], "the store knows of all changes"
        await a.sleep(0.5)
        assert (await b.get()).note == "hit"
        assert between.asked == ["read"]
        await a.sleep(0.6)
        between.away = True
        assert (await b.get()).note == "revalidated", "no one but the origin can tell"
        assert (await b.get()).note == "hit"
        await a.sleep(1.1)
        a.origin.answer = lambda _: Response(500, [(b"cache-control", b"no-store")])
        assert (await b.get()).status == 500
        a.origin.answer = a.origin.page
        ear.regained()
        assert b.counts("entries", "l2_deaf") == [0, 0]
        between.away = False
        await a.sleep(2)
        assert (await b.get()).note == "hit"
        await a.sleep(40)
        assert (await b.get()).note == "hit"

    a.run(main())


# Cancelled


def test_a_leader_that_is_cancelled_anywhere_leaves_no_lease_behind() -> None:
    @cancel_everywhere
    async def scenario(trial: Any) -> None:
        a, b = worlds()
        a.runtime = b.runtime = a.origin.runtime = trial.world
        a.origin.takes = 0.5
        Between(a, slow=0.1)
        victim = trial.victim(a.get())
        other = a.client(after=0.3)
        await asyncio.gather(victim, return_exceptions=True)
        assert (await other).body == b"version 1"
        began = trial.world.now()
        assert (await b.get()).body == b"version 1"
        await trial.world.sleep(1)
        assert (await b.get("/")).note == "hit"
        assert trial.world.now() < began + 3
        assert a.counts("loading") == b.counts("loading") == [0]


def test_a_change_that_is_cancelled_is_made_all_the_same() -> None:
    a, b = worlds()
    between = Between(a)
    changing(a)

    async def main() -> None:
        await a.get()
        await settled(a)
        await b.get()
        between.slow = 1.0
        task = a.client(method="PUT")
        await a.sleep(0.0001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await a.sleep(3)
        assert b.counts("entries") == [0]

    a.run(main())

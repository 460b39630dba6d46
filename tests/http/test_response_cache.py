"""What one client sees after another: hits, ages, conditions, verification, what passes through."""

from __future__ import annotations

import asyncio
import doctest

import pytest
from tests.http.cache_world import FRESH, START, Pipe, World

from escala.errors import ConfigError
from escala.http import response_cache
from escala.http.message import HttpRequest, Response
from escala.http.pure.http_date import format_date
from escala.http.response_cache import ResponseCache
from escala.http.stream import Stream
from escala.kernel.context import Request, serving
from escala.kernel.policy import Scope
from escala.kernel.stack import Stack
from escala.kernel.units import Duration, PositiveDuration, PositiveSize


def test_a_fresh_answer_is_given_again_with_its_age() -> None:
    world = World()

    async def main() -> None:
        first = await world.get()
        assert (first.status, first.body, first.note) == (200, b"version 1", "miss")
        assert b"age" not in first.headers
        world.origin.version = 2
        await world.sleep(59.5)
        again = await world.get()
        assert (again.status, again.body, again.note) == (200, b"version 1", "hit")
        assert again.headers == {**first.headers, b"age": b"59"}
        await world.sleep(0.5)
        assert (await world.get()).body == b"version 2"

    world.run(main())
    assert world.origin.count == 2
    assert world.counts("hits", "misses", "entries") == [1, 2, 1]


def test_what_is_given_is_the_callers_own() -> None:
    world = World()

    async def main() -> None:
        for _ in range(3):
            _, response = await world.raw()
            assert (b"x-mine", b"1") not in response.headers
            response.headers.append((b"x-mine", b"1"))
        for _ in range(2):
            _, response = await world.raw("/", (b"if-none-match", b'"v1"'))
            assert response.status == 304
            response.headers.clear()
        _, response = await world.raw("/", (b"if-none-match", b'"v1"'))
        assert response.headers

    world.run(main())


def test_the_key_is_scheme_host_and_target() -> None:
    world = World()

    async def main() -> None:
        for target, host in (("/", b"shop"), ("/?a", b"shop"), ("/", b"other"), ("/", b"shop:81")):
            assert (await world.get(target, host=host)).note == "miss"
        assert (await world.get("/", host=b"SHOP:80")).note == "hit"

    world.run(main())


def test_head_is_answered_from_get_but_fills_nothing() -> None:
    world = World()

    async def main() -> None:
        assert (await world.get(method="HEAD")).note == "miss"
        await world.get()
        head = await world.get(method="HEAD")
        assert (head.status, head.body, head.note, head.length) == (200, b"", "hit", 9)
        assert head.headers[b"age"] == b"0"

    world.run(main())
    assert [asked.method for asked in world.origin.asked] == ["HEAD", "GET"]


def test_a_head_that_tells_of_a_new_version_ends_the_old_one() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        world.origin.version = 2
        assert (await world.get(method="HEAD")).headers[b"etag"] == b'"v2"'
        assert world.counts("entries") == [0]
        await world.get()
        await world.sleep(61)
        await world.get(method="HEAD")
        assert world.counts("entries") == [1]

    world.run(main())


@pytest.mark.parametrize(
    ("line", "status", "note"),
    [
        ((b"if-none-match", b'"v1"'), 304, "hit"),
        ((b"if-none-match", b'"x", W/"v1"'), 304, "hit"),
        ((b"if-none-match", b"*"), 304, "hit"),
        ((b"if-none-match", b'"v2"'), 200, "hit"),
        ((b"if-modified-since", format_date(START)), 304, "hit"),
        ((b"if-modified-since", format_date(START - 1)), 200, "hit"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_clients_condition_is_answered_here(
    line: tuple[bytes, bytes], status: int, note: str, method: str
) -> None:
    world = World()
    world.origin.headers += [(b"content-type", b"text/plain"), (b"vary", b"accept")]

    async def main() -> None:
        await world.get()
        await world.sleep(5)
        reply = await world.get("/", line, method=method)
        assert (reply.status, reply.note) == (status, note)
        assert reply.headers[b"age"] == b"5"
        if status == 304:
            assert reply.body == b""
            assert set(reply.headers) == {b"age", b"cache-control", b"date", b"etag", b"vary"}

    world.run(main())
    assert world.origin.count == 1


def test_a_miss_asks_for_the_whole_answer_whatever_the_client_has() -> None:
    world = World()

    async def main() -> None:
        first = await world.get("/", (b"if-none-match", b'"v1"'), (b"accept", b"*/*"))
        assert (first.status, first.body, first.note) == (304, b"", "miss")
        assert (await world.get()).body == b"version 1"

    world.run(main())
    assert [asked.headers for asked in world.origin.asked] == [{b"accept": b"*/*"}]


def test_a_condition_passes_where_answers_cannot_be_stored() -> None:
    world = World()
    world.origin.headers = [(b"cache-control", b"no-store")]

    async def main() -> None:
        condition = (b"if-none-match", b'"v1"')
        assert (await world.get("/", condition)).status == 200
        reply = await world.get("/", condition)
        assert (reply.status, reply.note) == (304, "miss")

    world.run(main())
    assert [b"if-none-match" in asked.headers for asked in world.origin.asked] == [False, True]


def test_a_stale_answer_is_verified_and_renewed() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        world.origin.headers = [(b"cache-control", b"max-age=100"), (b"x-new", b"1")]
        await world.sleep(61)
        reply = await world.get()
        assert (reply.status, reply.body, reply.note) == (200, b"version 1", "revalidated")
        assert reply.headers[b"x-new"] == b"1"
        assert reply.headers[b"age"] == b"0"
        assert reply.headers[b"date"] == format_date(START + 61)
        await world.sleep(99)
        reply = await world.get()
        assert (reply.note, reply.headers[b"age"]) == ("hit", b"99")

    world.run(main())
    assert world.origin.asked[1].headers == {b"if-none-match": b'"v1"'}
    assert world.counts("revalidated", "entries") == [1, 1]


def test_the_clients_request_is_itself_again_after_it_was_used_to_ask() -> None:
    world = World()
    lines = [(b"if-none-match", b'"v0"'), (b"accept", b"*/*")]

    async def main() -> None:
        for _ in range(2):
            request, _ = await world.raw("/", *lines)
            assert request.headers == lines
            await world.sleep(61)

    world.run(main())
    assert [set(asked.headers) for asked in world.origin.asked] == [
        {b"accept"},
        {b"accept", b"if-none-match"},
    ]


def test_a_stale_answer_that_changed_is_replaced() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        world.origin.version = 2
        await world.sleep(61)
        reply = await world.get()
        assert (reply.body, reply.note) == (b"version 2", "miss")
        assert (await world.get()).note == "hit"

    world.run(main())
    assert world.counts("entries") == [1]


def test_who_has_the_verified_answer_gets_304() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        reply = await world.get("/", (b"if-none-match", b'"old", "v1"'))
        assert (reply.status, reply.body, reply.note) == (304, b"", "revalidated")

    world.run(main())
    assert world.origin.asked[1].headers == {b"if-none-match": b'"v1"'}


def test_last_modified_is_asked_about_too() -> None:
    world = World()
    then = format_date(START - 9)

    def answer(request: HttpRequest) -> Response:
        if request.header(b"if-modified-since") == then:
            return Response(304, [])
        return Response(200, [(b"last-modified", then), FRESH], b"page")

    world.origin.answer = answer

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        reply = await world.get()
        assert (reply.body, reply.note) == (b"page", "revalidated")
        assert reply.headers[b"date"] == format_date(START + 61)  # a 304 without one: ours
        await world.sleep(59)
        assert (await world.get()).note == "hit"

    world.run(main())


def test_a_304_about_another_answer_is_not_believed() -> None:
    world = World()

    def answer(request: HttpRequest) -> Response:
        if request.header(b"if-none-match") is not None:
            return Response(304, [(b"etag", b'"v9"')])
        return Response(200, [(b"etag", b'"v%d"' % world.origin.count), FRESH], b"whole")

    world.origin.answer = answer

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        reply = await world.get()
        assert (reply.status, reply.note, reply.headers[b"etag"]) == (200, "miss", b'"v3"')
        assert (await world.get()).note == "hit"

    world.run(main())
    assert [b"if-none-match" in asked.headers for asked in world.origin.asked] == [
        False,
        True,
        False,
    ]


def test_after_a_304_about_another_answer_ours_is_gone() -> None:
    world = World(stale_if_error=1000)

    def answer(request: HttpRequest) -> Response:
        if request.header(b"if-none-match") is not None:
            return Response(304, [(b"etag", b'"v9"')])
        return Response(200, [(b"cache-control", b"no-store")], b"whole")

    async def main() -> None:
        await world.get()
        world.origin.answer = answer
        await world.sleep(61)
        assert (await world.get()).body == b"whole"
        assert world.counts("entries") == [0]

    world.run(main())


def test_a_304_needs_no_body_so_one_that_comes_is_let_go_of() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        world.origin.answer = lambda _: Response(304, [], world.origin.stream(b"what?").body)
        await world.sleep(61)
        assert (await world.get()).note == "revalidated"
        assert world.origin.pipe.abandoned

    world.run(main())


def test_the_time_on_the_way_counts_for_what_has_an_age() -> None:
    world = World()
    world.origin.headers, world.origin.takes = [FRESH, (b"age", b"10")], 3.0

    async def main() -> None:
        await world.sleep(100)
        assert (await world.get()).headers[b"age"] == b"10"
        assert (await world.get()).headers[b"age"] == b"13"

    world.run(main())


def test_a_304_that_now_forbids_storing_ends_the_entry() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        world.origin.headers = [(b"cache-control", b"no-store")]
        await world.sleep(61)
        reply = await world.get()
        assert (reply.status, reply.body, reply.note) == (200, b"version 1", "revalidated")
        assert world.counts("entries") == [0]

    world.run(main())


@pytest.mark.parametrize("control", [b"no-cache", b"max-age=0", b"no-cache, stale-if-error=99"])
def test_what_must_be_verified_each_time_is(control: bytes) -> None:
    world = World()
    world.origin.headers = [(b"cache-control", control)]

    async def main() -> None:
        notes = [(await world.get()).note for _ in range(3)]
        assert notes == ["miss", "revalidated", "revalidated"]

    world.run(main())


def test_an_answer_that_is_no_longer_storable_ends_the_old_one() -> None:
    world = World(stale_if_error=1000)

    async def main() -> None:
        await world.get()
        await world.sleep(61)
        world.origin.version = 2
        world.origin.headers = [(b"cache-control", b"private")]
        await world.get()
        assert world.counts("entries") == [0]

    world.run(main())


@pytest.mark.parametrize(
    ("line", "note", "count"),
    [
        ((b"cache-control", b"no-cache"), "revalidated", 2),
        ((b"cache-control", b"max-age=9"), "revalidated", 2),
        ((b"cache-control", b"max-age=10"), "hit", 1),
        ((b"cache-control", b"min-fresh=51"), "revalidated", 2),
        ((b"cache-control", b"min-fresh=50"), "hit", 1),
        ((b"cache-control", b"only-if-cached"), "hit", 1),
        ((b"cache-control", b"no-store"), "hit", 1),
    ],
)
def test_what_clients_ask_of_a_fresh_answer(
    line: tuple[bytes, bytes], note: str, count: int
) -> None:
    world = World()

    async def main() -> None:
        await world.get()
        await world.sleep(10)
        assert (await world.get("/", line)).note == note

    world.run(main())
    assert world.origin.count == count


def test_max_stale_accepts_what_is_no_longer_fresh() -> None:
    world = World()

    async def main() -> None:
        await world.get()
        await world.sleep(70)
        reply = await world.get("/", (b"cache-control", b"max-stale=10"))
        assert (reply.note, reply.headers[b"age"]) == ("stale", b"70")
        assert (await world.get("/", (b"cache-control", b"max-stale=9"))).note == "revalidated"

    world.run(main())


def test_only_if_cached_never_asks_the_origin() -> None:
    world = World()

    async def main() -> None:
        reply = await world.get("/", (b"cache-control", b"only-if-cached"))
        assert (reply.status, reply.note) == (504, "miss")
        assert world.counts("misses") == [1]
        await world.get()
        await world.sleep(61)
        assert (await world.get("/", (b"cache-control", b"only-if-cached"))).status == 504
        reply = await world.get("/", (b"cache-control", b"only-if-cached, max-stale"))
        assert (reply.status, reply.note) == (200, "stale")

    world.run(main())
    assert world.origin.count == 1


def test_a_no_store_request_leaves_no_trace() -> None:
    world = World()

    async def main() -> None:
        for _ in range(2):
            assert (await world.get("/", (b"cache-control", b"no-store"))).note == "bypass"
        assert world.counts("entries", "bypassed") == [0, 2]

    world.run(main())


@pytest.mark.parametrize(
    "line",
    [(b"range", b"bytes=0-1"), (b"if-match", b'"x"'), (b"if-unmodified-since", b"x")],
)
def test_what_only_the_origin_may_answer_passes_through(line: tuple[bytes, bytes]) -> None:
    world = World()

    async def main() -> None:
        await world.get()
        for _ in range(2):
            assert (await world.get("/", line)).note == "bypass"

    world.run(main())
    assert world.origin.count == 3
    assert line[0] in world.origin.asked[-1].headers


def test_a_body_or_an_upgrade_passes_through() -> None:
    world = World()

    async def ask(request: HttpRequest) -> None:
        with serving(request):
            await world.cache.acall(world.origin)
        assert request.notes["cache"] == "bypass"

    async def main() -> None:
        await world.get()
        await ask(HttpRequest("GET", b"/", [], host=b"shop", body=Stream(Pipe())))
        upgrading = HttpRequest("GET", b"/", [], host=b"shop")
        upgrading.upgrade = b"websocket"
        await ask(upgrading)

    world.run(main())
    assert world.origin.count == 3


def test_variants_are_kept_apart() -> None:
    world = World()
    world.origin.headers = [FRESH, (b"vary", b"Accept-Language")]
    german, english = (b"accept-language", b"de"), (b"accept-language", b"en")

    async def main() -> None:
        for line in (german, english):
            assert (await world.get("/", line)).note == "miss"
        for line in (german, english):
            assert (await world.get("/", line)).note == "hit"
        assert (await world.get("/")).note == "miss"
        assert (await world.get("/", german, (b"x", b"1"))).note == "hit"

    world.run(main())


def test_authorized_requests_share_only_what_is_for_all() -> None:
    world = World()
    secret = (b"authorization", b"Basic x")

    async def main() -> None:
        await world.get("/", secret)
        assert (await world.get("/")).note == "miss"  # nothing was stored
        assert (await world.get("/", secret)).note == "miss"  # and this is not for it
        world.origin.headers = [(b"cache-control", b"public, max-age=60")]
        await world.get("/public", secret)
        assert (await world.get("/public", secret)).note == "hit"
        assert (await world.get("/public")).note == "hit"

    world.run(main())


def test_guesses_and_cookies_do_not_mix() -> None:
    world = World(ttl="10s")
    world.origin.headers = []
    cookie = (b"cookie", b"id=1")

    async def main() -> None:
        await world.get("/", cookie)
        assert (await world.get("/")).note == "miss"
        assert (await world.get("/")).note == "hit"
        assert (await world.get("/", cookie)).note == "miss"
        await world.sleep(10)
        assert (await world.get("/")).note == "revalidated"

    world.run(main())


def test_why_an_answer_was_not_stored_is_noted() -> None:
    world = World()
    world.origin.headers = [(b"cache-control", b"private")]

    async def main() -> None:
        request, _ = await world.raw()
        assert request.notes["cache_refused"] == "the answer is private"
        request, _ = await world.raw("/other")
        assert request.notes["cache"] == "miss"

    world.run(main())


def test_a_body_above_the_limit_is_not_stored() -> None:
    world = World(max_body=8)

    async def main() -> None:
        for _ in range(2):
            reply = await world.get()
            assert (reply.body, reply.note) == (b"version 1", "miss")

    world.run(main())
    assert world.counts("entries") == [0]
    world = World(max_body=9)

    async def fits() -> None:
        await world.get()
        assert (await world.get()).note == "hit"

    world.run(fits())


def test_the_least_recently_used_makes_room() -> None:
    world = World(size="16KiB")

    async def main() -> None:
        for number in range(100):
            await world.get(f"/{number}")
            assert (await world.get("/0")).note == "hit"
        assert world.cache.snapshot()["bytes"] <= 16 * 1024

    world.run(main())
    assert world.counts("evicted")[0] > 50


def test_what_is_not_http_passes_through() -> None:
    cache = ResponseCache()
    assert cache.call(lambda: 7) == 7
    with serving(Request(key="k")):
        assert [cache.call(lambda n=n: n) for n in (1, 2)] == [1, 2]  # type: ignore[misc]


def test_a_call_that_returns_no_response_is_left_alone() -> None:
    cache = ResponseCache()
    with serving(HttpRequest("GET", b"/", [], host=b"shop")):
        assert [cache.call(lambda n=n: n) for n in (1, 2)] == [1, 2]  # type: ignore[misc]
    for method in ("HEAD", "POST", "OPTIONS"):
        with serving(HttpRequest(method, b"/", [], host=b"shop")):
            assert cache.call(lambda: "done") == "done"


def test_a_change_that_returns_no_response_may_have_changed_anything() -> None:
    world = World()

    async def done() -> str:
        return "done"

    async def main() -> None:
        await world.get()
        with serving(HttpRequest("POST", b"/", [], host=b"shop")):
            assert await world.cache.acall(done) == "done"
        assert (await world.get()).note == "revalidated"

    world.run(main())


def test_the_example_in_its_docstring() -> None:
    done = doctest.testmod(response_cache)
    assert done.attempted > 0
    assert done.failed == 0


def test_a_block_is_refused() -> None:
    with pytest.raises(TypeError, match="again"), ResponseCache():
        pass


def test_it_decorates_both_colours() -> None:
    cache = ResponseCache()
    calls = []

    @cache
    def page() -> Response:
        calls.append(1)
        return Response(200, [FRESH], b"page")

    @cache
    async def apage() -> Response:
        calls.append(2)
        return Response(200, [FRESH], b"other")

    with serving(HttpRequest("GET", b"/", [], host=b"shop")):
        assert page().body == b"page"
        assert page().body == b"page"
        assert asyncio.run(apage()).body == b"page"
    assert calls == [1]


def test_its_defaults_are_those_of_its_options() -> None:
    assert ResponseCache().options == ResponseCache.Options()
    assert repr(ResponseCache("8MiB", ttl="5s")) == "ResponseCache('8MiB', ttl='5s')"
    with pytest.raises(ConfigError, match="size: expected a size above zero"):
        ResponseCache(0)


def test_it_is_built_from_its_options_and_shared_among_workers() -> None:
    options = ResponseCache.Options(
        size=PositiveSize("8MiB"),
        max_body=PositiveSize("2kB"),
        ttl=Duration("5s"),
        stale_if_error=Duration("1m"),
        wait=PositiveDuration("2s"),
    )
    cache = ResponseCache.build(options, Scope(name="api", share=4))
    assert cache.name == "api.cache"
    assert cache.options.wait == 2.0
    assert cache._shared._storage.size == 2 * 1024 * 1024
    assert cache._replies.max_body == 2000
    terms = cache._replies.terms
    assert (terms.unstated, terms.stale_if_error, terms.stale_while_revalidate) == (5.0, 60.0, 0.0)


def test_a_stack_around_it_keeps_working() -> None:
    world = World()
    stack = Stack(world.cache)

    async def main() -> None:
        for _ in range(2):
            with serving(HttpRequest("GET", b"/", [], host=b"shop")):
                assert (await stack.acall(world.origin)).status == 200

    world.run(main())
    assert world.origin.count == 1

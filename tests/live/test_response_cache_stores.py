"""Two response caches with one second level in each store, from threads and from an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers.redis_server import RedisServer, redis, shared_redis

from escala.http.message import HttpRequest, Response
from escala.http.response_cache import ResponseCache
from escala.kernel.context import serving

__all__ = ["redis", "shared_redis"]

pytestmark = pytest.mark.live

PATIENCE = 5.0
HEADERS = [(b"cache-control", b"max-age=60"), (b"vary", b"accept-language")]
Pair = tuple[ResponseCache, ResponseCache]


class Page:
    """A page with versions; whoever asks with PUT makes the next."""

    def __init__(self) -> None:
        self.version = 1
        self.loads = 0

    def __call__(self) -> Response:
        self.loads += 1
        return Response(200, HEADERS, b"%d" % self.version)

    async def later(self) -> Response:
        await asyncio.sleep(0.05)
        return self()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def pair(request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path) -> Iterator[Pair]:
    url = {
        "memory": f"memory://{tmp_path.name}",
        "sqlite": f"sqlite:///{tmp_path}/cache.db",
        "redis": f"{redis.url}?timeout=5s",
    }[request.param]
    caches = ResponseCache(l2=url), ResponseCache(l2=url)
    yield caches
    for cache in caches:
        cache.close()


def asking(method: str, language: bytes) -> HttpRequest:
    return HttpRequest(method, b"/", [(b"accept-language", language)], host=b"shop")


def ask(cache: ResponseCache, page: Page, method: str = "GET", language: bytes = b"de") -> str:
    with serving(asking(method, language)) as request:
        assert cache.call(page).status == 200
        return request.notes["cache"]


async def aask(cache: ResponseCache, page: Page, method: str = "GET") -> str:
    with serving(asking(method, b"de")) as request:
        assert (await cache.acall(page.later)).status == 200
        return request.notes["cache"]


def hearing(pair: Pair) -> bool:
    return all(cache.snapshot()["l2_deaf"] == 0 for cache in pair)


def test_threads_share_loads_and_changes(pair: Pair) -> None:
    one, two = pair
    page, end = Page(), time.monotonic() + PATIENCE
    for cache in pair:
        ask(cache, page, "OPTIONS")
    while not hearing(pair):
        assert time.monotonic() < end
        time.sleep(0.005)
    assert [ask(one, page), ask(two, page), ask(two, page)] == ["miss", "hit", "hit"]
    assert [ask(two, page, language=b"en"), ask(one, page, language=b"en")] == ["miss", "hit"]
    ask(one, page, "PUT")
    while ask(two, page) == "hit":
        assert time.monotonic() < end
        time.sleep(0.005)
    assert one.forget("http://shop/") is True
    assert ask(one, page) == "miss"
    assert one.clear() is True
    assert ask(one, page) == "miss"


def test_tasks_share_loads_and_changes(pair: Pair) -> None:
    one, two = pair

    async def main() -> None:
        page, end = Page(), time.monotonic() + PATIENCE
        for cache in pair:
            await aask(cache, page, "OPTIONS")
        while not hearing(pair):
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        page.loads = 0
        notes = await asyncio.gather(*(aask(cache, page) for cache in pair for _ in range(10)))
        assert page.loads == 1
        assert sorted(notes).count("miss") == 1
        await aask(one, page, "PUT")
        while await aask(two, page) == "hit":
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        assert await two.aforget("http://shop/") is True
        assert await two.aclear() is True
        assert await aask(two, page) == "miss"

    asyncio.run(main())

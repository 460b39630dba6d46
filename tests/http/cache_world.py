"""A cache, an origin that does as it is told, and clients, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from escala.http.message import HttpRequest, Response
from escala.http.pure.http_date import format_date
from escala.http.response_cache import ResponseCache
from escala.http.stream import Stream
from escala.kernel.context import current_request, serving
from escala.testing import VirtualRuntime

T = TypeVar("T")

START = 1_750_000_000.0  # the wall clock when virtual time is 0
Lines = list[tuple[bytes, bytes]]
FRESH = (b"cache-control", b"max-age=60")


class Asked(NamedTuple):
    """What the origin was asked, and when."""

    at: float
    method: str
    target: bytes
    headers: dict[bytes, bytes]


class Reply(NamedTuple):
    """What a client got, and what the cache noted."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    note: str | None
    length: int | None
    at: float


class Pipe:
    """The connection from which a streamed body comes."""

    def __init__(self) -> None:
        self.abandoned = False

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abandon(self) -> None:
        self.abandoned = True


class Origin:
    """Answers after `takes` seconds with `answer`, and remembers what it was asked."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        self.runtime = runtime
        self.takes = 0.0
        self.asked: list[Asked] = []
        self.busy = self.most_busy = 0
        self.version = 1
        self.answer: Callable[[HttpRequest], Response | Awaitable[Response]] = self.page
        self.headers: Lines = [FRESH]
        self.pipe = Pipe()

    async def __call__(self) -> Response:
        request = current_request()
        assert isinstance(request, HttpRequest)
        target, headers = request.target, dict(request.headers)
        self.asked.append(Asked(self.runtime.now(), request.method, target, headers))
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            answer = self.answer(request)  # what it reads, it reads at the beginning
            if self.takes:
                await self.runtime.sleep(self.takes)
            return answer if isinstance(answer, Response) else await answer
        finally:
            self.busy -= 1

    @property
    def count(self) -> int:
        return len(self.asked)

    def date(self) -> tuple[bytes, bytes]:
        return b"date", format_date(START + self.runtime.now())

    def page(self, request: HttpRequest) -> Response:
        """The page in its present version; 304 for who has it."""
        tag = b'"v%d"' % self.version
        headers = [self.date(), (b"etag", tag), *self.headers]
        if dict(request.headers).get(b"if-none-match") == tag:
            return Response(304, headers)
        body = b"" if request.method == "HEAD" else b"version %d" % self.version
        return Response(200, headers, body)

    def stream(
        self, *chunks: bytes, every: float = 1.0, length: int | None = None, broken: bool = False
    ) -> Response:
        """A body that arrives in pieces, the first one `every` seconds after the head."""
        body = Stream(self.pipe)

        async def feed() -> None:
            for chunk in chunks:
                await self.runtime.sleep(every)
                body.feed(chunk)
            await self.runtime.sleep(every)
            if broken:
                body.fail(ConnectionResetError("the origin went away"))
            else:
                body.finish()

        self.runtime.spawn(feed())
        return Response(200, [self.date(), *self.headers], body, length=length)


class World:
    """One cache between clients and an origin; another one `beside` it has the same origin."""

    def __init__(
        self,
        seed: int = 0,
        *,
        size: str | int = "64MiB",
        max_body: str | int = "1MiB",
        ttl: str | float | None = None,
        stale_while_revalidate: str | float = 0,
        stale_if_error: str | float = 0,
        wait: str | float = "5s",
        l2: str | None = None,
        beside: World | None = None,
    ) -> None:
        self.runtime: VirtualRuntime = VirtualRuntime(seed) if beside is None else beside.runtime
        self.cache = ResponseCache(
            size,
            max_body=max_body,
            ttl=ttl,
            stale_while_revalidate=stale_while_revalidate,
            stale_if_error=stale_if_error,
            wait=wait,
            l2=l2,
            wall=lambda: START + self.runtime.now(),
        )
        self.origin: Origin = Origin(self.runtime) if beside is None else beside.origin

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end, and see that nothing was left behind."""
        result = self.runtime.run(main)
        left = self.cache.snapshot()
        assert left["loading"] == 0, "a flight was left behind"
        assert left["collecting"] == 0, "a body was left behind"
        return result

    async def raw(
        self,
        target: str = "/",
        *lines: tuple[bytes, bytes],
        method: str = "GET",
        host: bytes = b"shop",
    ) -> tuple[HttpRequest, Response]:
        request = HttpRequest(method, target.encode(), list(lines), host=host)
        with serving(request):
            return request, await self.cache.acall(self.origin)

    async def get(
        self,
        target: str = "/",
        *lines: tuple[bytes, bytes],
        method: str = "GET",
        host: bytes = b"shop",
    ) -> Reply:
        """Ask, and read the body to its end."""
        request, response = await self.raw(target, *lines, method=method, host=host)
        body = response.body
        if isinstance(body, Stream):
            body = b"".join([chunk async for chunk in body])
        return Reply(
            response.status,
            dict(response.headers),
            body,
            request.notes.get("cache"),
            response.length,
            self.runtime.now(),
        )

    def client(
        self,
        target: str = "/",
        *lines: tuple[bytes, bytes],
        method: str = "GET",
        after: float = 0.0,
    ) -> asyncio.Task[Reply]:
        """`get` in a task of its own, `after` some seconds."""

        async def later() -> Reply:
            if after:
                await self.runtime.sleep(after)
            return await self.get(target, *lines, method=method)

        return self.runtime.spawn(later())

    async def sleep(self, seconds: float) -> None:
        await self.runtime.sleep(seconds)

    def counts(self, *names: str) -> list[float]:
        snapshot = self.cache.snapshot()
        return [snapshot[name] for name in names]

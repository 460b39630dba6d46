"""One request to an origin, in either colour, within its time and its size."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from escala.caching.at_fork import keep_whole
from escala.errors import ConfigError, DeadlineExceeded, OriginFailed
from escala.kernel.context import deadline, remaining
from escala.kernel.runtime import LoopRuntime, Runtime, colours
from escala.stores.socket_wait import refuse_in_loop

if TYPE_CHECKING:
    import httpx

_LEAST = 0.001


class HttpAnswer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    cache_control: list[str]
    body: bytes


class HttpCall:
    """Connections to one origin: those of threads, and those of each event loop."""

    def __init__(self, *, timeout: float, max_size: int, headers: Mapping[str, str]) -> None:
        self._httpx = _driver()
        self._timeout, self._max_size = timeout, max_size
        # Not compressed, so that no small answer becomes a large one here.
        self._headers = {**headers, "accept-encoding": "identity"}
        self.lock = threading.RLock()
        self._client: httpx.Client | None = None
        self._aclients: WeakKeyDictionary[Any, httpx.AsyncClient] = WeakKeyDictionary()
        keep_whole(self)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], runtime: Runtime
    ) -> HttpAnswer:
        """Raises `OriginFailed`, and `DeadlineExceeded` when the caller's own time is up."""
        refuse_in_loop(runtime)
        httpx, began = self._httpx, runtime.now()
        until = min(began + self._timeout, deadline())
        try:
            if isinstance(runtime, LoopRuntime):
                return await runtime.race(lambda: self._asend(method, url, headers), until)
            return await runtime.race(lambda: self._send(method, url, headers), until)
        except (httpx.TimeoutException, DeadlineExceeded) as error:
            if deadline() <= runtime.now():
                raise DeadlineExceeded(f"{_place(url)}: the caller's time is up") from error
            raise OriginFailed(f"{_place(url)}: no answer within {self._timeout:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OriginFailed(f"{_place(url)}: {type(error).__name__}: {error}") from error

    async def _send(self, method: str, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        with self.lock:
            client = self._client = self._client or self._httpx.Client(headers=self._headers)
        response = client.send(self._request(client, method, url, headers), stream=True)
        try:
            room = self._room(response)
            parts: list[bytes] = []
            for part in response.iter_raw():
                room = self._fits(response, part, room)
                parts.append(part)
        finally:
            response.close()
        return _answer(response, parts)

    async def _asend(self, method: str, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        client = self._aclient()
        response = await client.send(self._request(client, method, url, headers), stream=True)
        try:
            room = self._room(response)
            parts: list[bytes] = []
            async for part in response.aiter_raw():
                room = self._fits(response, part, room)
                parts.append(part)
        finally:
            await response.aclose()
        return _answer(response, parts)

    def _aclient(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self.lock:
            client = self._aclients.get(loop)
            if client is None:
                client = self._aclients[loop] = self._httpx.AsyncClient(headers=self._headers)
        return client

    @staticmethod
    def _request(
        client: Any,  # noqa: ANN401  of either colour
        method: str,
        url: str,
        headers: Mapping[str, str],
    ) -> httpx.Request:
        request: httpx.Request = client.build_request(method, url, headers=dict(headers))
        request.extensions["timeout"] = _Left()
        return request

    def _room(self, response: httpx.Response) -> int:
        coding = response.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise OriginFailed(
                f"{_place(str(response.url))}: expected an answer that is not compressed, "
                f"found {coding!r}"
            )
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_size:
            raise self._too_large(response)
        return self._max_size

    def _fits(self, response: httpx.Response, part: bytes, room: int) -> int:
        if remaining(colours.thread.now()) <= 0:
            raise DeadlineExceeded("the answer takes too long")
        if len(part) > room:
            raise self._too_large(response)
        return room - len(part)

    def _too_large(self, response: httpx.Response) -> OriginFailed:
        place, most = _place(str(response.url)), self._max_size
        return OriginFailed(f"{place}: expected at most {most:,} bytes, found more")

    def forked(self) -> None:
        """A forked child has connections of its own."""
        self.lock = threading.RLock()
        self._client = None
        self._aclients = WeakKeyDictionary()

    def close(self) -> None:
        """Close the connections; those of an event loop are closed in its next turn."""
        with self.lock:
            client, self._client = self._client, None
            others = list(self._aclients.items())
            self._aclients = WeakKeyDictionary()
        if client is not None:
            client.close()
        for loop, other in others:
            with suppress(RuntimeError):  # it has ended, and its connections with it
                loop.call_soon_threadsafe(_close_soon, loop, other.aclose)

    async def aclose(self) -> None:
        """Close those of the running loop, which should not end before."""
        with self.lock:
            client = self._aclients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()


def _close_soon(loop: asyncio.AbstractEventLoop, close: Callable[[], Any]) -> None:
    task = loop.create_task(close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[Any]] = set()


class _Left(dict[str, Any]):
    """httpx's timeouts: for each step what is left of the deadline when it begins."""

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401, ARG002  as dict has it
        left = remaining(colours.thread.now())
        return None if left == math.inf else max(left, _LEAST)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  as dict has it
        return self.get(name)


def _answer(response: httpx.Response, parts: list[bytes]) -> HttpAnswer:
    headers = response.headers
    said: list[str] = headers.get_list("cache-control")
    return HttpAnswer(response.status_code, headers, said, b"".join(parts))


def _place(url: str) -> str:
    return url.partition("?")[0]  # what follows may hold a secret


def _driver() -> Any:  # noqa: ANN401  a module
    try:
        import httpx
    except ImportError as error:
        raise ConfigError("HttpOrigin needs httpx: pip install 'escala[http]'") from error
    return httpx

"""An httpx client whose requests are spread over the targets of an upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, TypeAlias
from weakref import WeakKeyDictionary

import httpx

from escala.adapters.both_transports import BothTransports
from escala.adapters.outgoing_request import OutgoingRequest
from escala.adapters.pure.failed_status import failed_status
from escala.balancing import Target, Upstream
from escala.errors import ConfigError
from escala.kernel.context import Request, current
from escala.kernel.runtime import colours
from escala.resilience.user_function import check

Key: TypeAlias = Callable[[httpx.Request], str | bytes | None]

_UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout)
_THEIRS = (httpx.ReadTimeout, httpx.WriteTimeout, httpx.NetworkError, httpx.RemoteProtocolError)
_TOO_MANY = 429  # repeated elsewhere, but no fault of the target


class BalancedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Send each request to a target that the upstream picks, under the name of the service.

        shop = Upstream("shop", ["10.0.0.1:80", "10.0.0.2:80"], health=HealthCheck())
        balanced = BalancedTransport(shop)
        client = httpx.Client(mounts={"http://shop.test": HttpxTransport(standard(), balanced)})
        with shop, client:
            client.get("http://shop.test/catalogue")

    The same object serves `httpx.Client` and `httpx.AsyncClient`, so an `HttpxTransport` for both
    takes it twice: `HttpxTransport(policy, balanced, atransport=balanced)`.

    - `upstream` is opened and closed by whoever made it.
    - `transport`, `atransport`: what sends in sync and in async code; by default httpx's own.
    - `key` tells what a request is about, for `ConsistentHash`: `lambda r: r.headers["x-user"]`.

    The client's URL says who is asked, the target only where: path, `Host` and the name that a
    certificate is checked for stay those of the URL, while host, port and scheme to connect to are
    the target's. What is https in the URL is never sent to a target without TLS.

    A request counts as in flight until its answer has been read or closed. A connection that
    cannot be made is reported to the upstream; that, one that breaks and a 5xx other than 501 and
    505 count as failures of the target. Within a policy that repeats (`HttpxTransport(Retry(),
    BalancedTransport(shop))`) targets that failed, or have not answered yet, are avoided while
    there are others. So are, for a retry around the client, those that failed since the last good
    answer while the same `Request` is served (`with serving(Request()):`). The other way round,
    `BalancedTransport(shop, HttpxTransport(policy))`, the policy works on the target picked.

    Raises httpx's own errors, and `NoHealthyBackend`. `ConfigError` for a key that is no function
    and for a transport of the other colour.
    """

    def __init__(
        self,
        upstream: Upstream,
        transport: httpx.BaseTransport | None = None,
        *,
        atransport: httpx.AsyncBaseTransport | None = None,
        key: Key | None = None,
    ) -> None:
        if not isinstance(upstream, Upstream):
            raise ConfigError(f"BalancedTransport: upstream: expected one, found {upstream!r}")
        if key is not None:
            check(key, "key", where="BalancedTransport")
        self.upstream = upstream
        self._transports = BothTransports(transport, atransport, where="BalancedTransport")
        self._key = key
        self._tried = WeakKeyDictionary[Request, set[Target]]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of a sync client."""
        with self._attempt(request) as attempt:
            return attempt.answered(self._transports.sync.handle_request(attempt.request))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request of an async client."""
        with self._attempt(request) as attempt:
            sender = self._transports.asynchronous
            return attempt.answered(await sender.handle_async_request(attempt.request))

    def close(self) -> None:
        """Close the connections of sync clients."""
        self._transports.close()

    async def aclose(self) -> None:
        """Close the connections of async clients."""
        await self._transports.aclose()

    def _attempt(self, request: httpx.Request) -> _Attempt:
        key = None if self._key is None else self._key(request)
        serving = current.get()
        tried = set() if serving is None else self._tried.setdefault(serving, set())
        target = self.upstream.pick(tuple(tried), key=key)
        if isinstance(serving, OutgoingRequest):  # one call, whose attempts may run side by side
            tried.add(target)
        return _Attempt(request, target, self.upstream, tried)


class _Attempt:
    """One request at one target, from the pick to the release."""

    def __init__(
        self, request: httpx.Request, target: Target, upstream: Upstream, tried: set[Target]
    ) -> None:
        self._given, self._target, self._upstream, self._tried = request, target, upstream, tried
        self._took: float | None = None
        self._over = False
        self._began = colours.thread.now()

    @property
    def request(self) -> httpx.Request:
        """The request, addressed to the target."""
        given, url = self._given, self._target.url
        if given.url.scheme == "https" and not url.secure:
            raise httpx.UnsupportedProtocol(
                f"{given.url.host} is asked by https, and its target {url} has no TLS; "
                f"list it as https://{url.address}"
            )
        scheme = "https" if url.secure else "http"
        extensions = {"sni_hostname": given.url.host, **given.extensions}
        return httpx.Request(
            given.method,
            given.url.copy_with(scheme=scheme, host=url.host, port=url.port),
            headers=given.headers,
            stream=given.stream,
            extensions=extensions if url.secure else given.extensions,
        )

    def answered(self, response: httpx.Response) -> httpx.Response:
        """The answer, which gives the target back when it has been read or closed."""
        self._took = colours.thread.now() - self._began
        self._upstream.report(self._target, ok=True)
        failed = failed_status(response.status_code)
        if failed:
            self._tried.add(self._target)
        else:
            self._tried.clear()
        ok = not failed or response.status_code == _TOO_MANY
        if response.is_closed:  # it came whole
            self.release(ok=ok)
        else:
            response.stream = _Body(response.stream, self, ok=ok)
        return response

    def release(self, *, ok: bool | None) -> None:
        """Give the target back, once."""
        if not self._over:
            self._over = True
            self._upstream.release(self._target, ok=ok, took=self._took)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        theirs = isinstance(error, _THEIRS + _UNREACHABLE)
        if theirs:
            self._tried.add(self._target)
        self.release(ok=False if theirs else None)
        if isinstance(error, _UNREACHABLE):
            self._upstream.report(self._target, ok=False)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an answer; its target is given back at the end of it."""

    def __init__(self, stream: Any, attempt: _Attempt, *, ok: bool) -> None:  # noqa: ANN401
        self._stream, self._attempt, self._ok = stream, attempt, ok  # of the client's own colour

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except _THEIRS:
            self._attempt.release(ok=False)
            raise
        self._attempt.release(ok=self._ok)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                yield part
        except _THEIRS:
            self._attempt.release(ok=False)
            raise
        self._attempt.release(ok=self._ok)

    def close(self) -> None:
        """Let go of the connection; who stopped reading says nothing of the target."""
        try:
            self._stream.close()
        finally:
            self._attempt.release(ok=None if self._ok else False)

    async def aclose(self) -> None:
        """Let go of the connection; who stopped reading says nothing of the target."""
        try:
            await self._stream.aclose()
        finally:
            self._attempt.release(ok=None if self._ok else False)

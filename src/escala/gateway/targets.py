"""An upstream with its sockets: picks a target, sends on a pooled connection, reports back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from escala.errors import BackendError, BackendUnreachable
from escala.http.connection_pool import ConnectionPool
from escala.http.message import HttpRequest, Response
from escala.kernel.context import current
from escala.kernel.runtime import colours

if TYPE_CHECKING:
    from collections.abc import Callable

    from escala.balancing import Target, Upstream
    from escala.gateway.hash_key import HashKey


def failed(response: Response) -> bool:
    """What retry, breaker and outlier detection take for the target's fault, not the client's."""
    return response.status >= 500 and response.status not in (501, 505)  # noqa: PLR2004


class Targets:
    """`Upstream` decides where a request goes, a pool per target takes it there.

    A request counts as in flight at its target until the last byte of the answer is here, also
    when the answer is streamed on long after the policies have seen its head. How long a target
    took is the time until that head, since the rest depends on the client as well.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        limit: int,
        idle: float,
        connect: float,
        hash_on: HashKey | None = None,
    ) -> None:
        self.upstream, self._hash_on = upstream, hash_on
        self._limit, self._idle, self._connect = limit, idle, connect
        self._opened = self._closed = False
        self._pools: dict[Target, ConnectionPool] = {}

    async def send(self, head: Callable[[HttpRequest], bytes]) -> Response:
        """One attempt at one target, another than those tried before if there is one.

        The innermost call of a stack: it sends the current request, which need not be the one
        that the stack was entered with (a cache that revalidates sends one of its own).
        """
        request = cast("HttpRequest", current.get())
        upstream = self.upstream
        if request.tried and request.body is not None:
            request.body.rewind()
        key = None if self._hash_on is None else self._hash_on.of(request)
        target: Target = upstream.pick(avoid=request.tried, key=key)
        request.tried = (*request.tried, target)
        notes = request.notes
        notes["target"] = target.address
        ok: bool | None = None
        took: float | None = None
        streaming = False
        now = colours.loop.now
        began = now()
        try:
            pool = self._pools.get(target) or self._pool(target)
            response = await pool.exchange(head(request), request)
            took = now() - began
            ok = not failed(response)
            upstream.report(target, ok=True)
            streaming = self._when_over(response, target, ok=ok, took=took)
        except BackendError as error:
            ok = False
            if isinstance(error, BackendUnreachable):
                upstream.report(target, ok=False)
            raise
        else:
            return response
        finally:
            if not streaming:
                upstream.release(target, ok=ok, took=took)

    def _when_over(self, response: Response, target: Target, *, ok: bool, took: float) -> bool:
        """Release the target when the rest of the answer is here; False if all of it is."""
        upstream, body = self.upstream, response.body
        if response.upgraded is not None:
            response.upgraded.on_end = lambda: upstream.release(target, ok=True, took=took)
        elif isinstance(body, bytes) or body.ended:
            return False
        else:
            # A client that went away in the middle says nothing of the target.
            body.on_end = lambda complete: upstream.release(
                target, ok=False if body.broken else ok if complete else None, took=took
            )
        return True

    def _pool(self, target: Target) -> ConnectionPool:
        if target.url.secure:  # a discovery found it: in `targets` it is refused beforehand
            raise BackendUnreachable(f"{target.url}: the gateway speaks no TLS to targets")
        pool = self._pools[target] = ConnectionPool(
            target.url.host,
            target.url.port,
            limit=self._limit,
            idle=self._idle,
            connect=self._connect,
        )
        if self._closed:  # a request that began before: its connection is not to stay
            pool.close()
        return pool

    def sweep(self, now: float) -> None:
        """Close connections that were idle too long, and those to targets that are gone."""
        here = set(self.upstream.targets)
        for target, pool in list(self._pools.items()):
            if target in here:
                pool.sweep(now)
            else:
                pool.close()
                del self._pools[target]

    def open(self) -> None:
        """Start the health checks and the discovery, unless they run already."""
        if not self._opened:
            self._opened = True
            self.upstream.open()

    async def close(self) -> None:
        """Stop the health checks and let go of the connections."""
        self._closed = True
        await self.upstream.aclose()
        for pool in self._pools.values():
            pool.close()

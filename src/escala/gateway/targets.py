"""An upstream with its sockets: picks a target, sends on a pooled connection, reports back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from escala.errors import BackendError, BackendUnreachable
from escala.http.connection_pool import ConnectionPool
from escala.http.message import HttpRequest, Response
from escala.kernel.context import current

if TYPE_CHECKING:
    from collections.abc import Callable

    from escala.balancing import Target, Upstream


class Targets:
    """`Upstream` decides where a request goes, a pool per target takes it there.

    A request counts as in flight at its target until the last byte of the answer is here, also
    when the answer is streamed on long after the policies have seen its head.
    """

    def __init__(self, upstream: Upstream, *, limit: int, idle: float, connect: float) -> None:
        self.upstream = upstream
        self._opened = False
        self._pools = {
            target: ConnectionPool(
                target.url.host, target.url.port, limit=limit, idle=idle, connect=connect
            )
            for target in upstream.targets
        }

    async def send(self, head: Callable[[HttpRequest], bytes]) -> Response:
        """One attempt at one target, another than those tried before if there is one.

        The innermost call of a stack: it sends the current request, which need not be the one
        that the stack was entered with (a cache that revalidates sends one of its own).
        """
        request = cast("HttpRequest", current.get())
        upstream = self.upstream
        if request.tried and request.body is not None:
            request.body.rewind()
        target: Target = upstream.pick(avoid=request.tried)
        request.tried = (*request.tried, target)
        notes = request.notes
        notes["target"] = target.address
        ok: bool | None = None
        streaming = False
        try:
            response = await self._pools[target].exchange(head(request), request)
            ok = True
            upstream.report(target, ok=True)
            body = response.body
            if response.upgraded is not None:
                response.upgraded.on_end = lambda: upstream.release(target, ok=True)
                streaming = True
            elif not isinstance(body, bytes) and not body.ended:
                body.on_end = lambda complete: upstream.release(target, ok=complete)
                streaming = True
        except BackendError as error:
            ok = False
            if isinstance(error, BackendUnreachable):
                upstream.report(target, ok=False)
            raise
        else:
            return response
        finally:
            if not streaming:
                upstream.release(target, ok=ok)

    def sweep(self, now: float) -> None:
        """Close connections that were idle too long."""
        for pool in self._pools.values():
            pool.sweep(now)

    def open(self) -> None:
        """Start the health checks, unless they run already."""
        if not self._opened:
            self._opened = True
            self.upstream.open()

    async def close(self) -> None:
        """Stop the health checks and let go of the connections."""
        await self.upstream.aclose()
        for pool in self._pools.values():
            pool.close()

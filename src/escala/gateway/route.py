"""One route of the gateway: a request goes through its policies to a target of its upstream."""

from __future__ import annotations

import functools
import math
import sys
import time
from typing import TYPE_CHECKING

from escala.errors import (
    BackendError,
    DeadlineExceeded,
    NoHealthyBackend,
    RateLimited,
    Rejected,
)
from escala.gateway.route_metrics import RouteMetrics
from escala.http.message import HttpRequest, Response, plain
from escala.http.pure.forwarding import origin_fields
from escala.http.pure.syntax import Refused
from escala.kernel.context import current
from escala.kernel.runtime import colours

if TYPE_CHECKING:
    from collections.abc import Callable

    from escala.gateway.priority import PriorityConfig
    from escala.gateway.pure.client_address import TrustedProxies
    from escala.gateway.targets import Targets
    from escala.kernel.stack import Stack

# What a stranger is told; who runs the gateway reads the reason with `--explain`.
_PUBLIC = {429: "too many requests, try again later", 503: "temporarily unavailable"}
_END = b"via: 1.1 escala\r\n\r\n"
_TAILS = 4096  # connections whose lines are remembered; beyond, they are simply made again


class Route:
    """Policies around an upstream. `handle` answers every request, whatever happens."""

    def __init__(
        self,
        label: str,
        stack: Stack,
        targets: Targets,
        trusted: TrustedProxies,
        priority: PriorityConfig | None = None,
    ) -> None:
        self.label = label
        self.stack = stack
        self.kinds = tuple(policy.kind for policy in stack.flat())
        self.names = {getattr(policy, "name", policy.kind) for policy in stack.flat()}
        self.targets = targets
        self.metrics = RouteMetrics()
        self._around = stack.around
        self._attempt = functools.partial(targets.send, self._head)
        self._trusted, self._priority = trusted, priority
        self._tails: dict[tuple[str, bytes], bytes] = {}
        self._now: Callable[[], float] = time.monotonic  # noqa: TID251  measures, decides nothing

    async def handle(self, request: HttpRequest) -> Response:
        """The answer of a target, or of whoever refused."""
        began = self._now()
        if request.origin and self._trusted and self._trusted.trusts(request.peer):
            values = [
                value.decode("latin-1")
                for name, value in request.origin
                if name == b"x-forwarded-for"
            ]
            request.client = self._trusted.client(request.peer, values)
        if self._priority is not None:
            trusted = self._trusted.trusts(request.peer)
            request.priority = self._priority.of(request, trusted=trusted)
        if not request.idempotent and request.header(b"idempotency-key") is not None:
            request.idempotent = True
        token = current.set(request)
        try:
            if request.body is not None and not request.expects_continue:
                # A small body is taken whole before anything is counted or timed: how slowly a
                # client sends must hold no slot and count against no target.
                await request.body.gather()
            response = await self._around(self._attempt, colours.loop)
        except Rejected as error:
            response = self._rejected(request, error)
        except (DeadlineExceeded, NoHealthyBackend, BackendError) as error:
            response = _failed(error)
        except Exception:  # noqa: BLE001  a plugin's bug costs one answer, not the worker
            sys.excepthook(*sys.exc_info())
            response = plain(500, "internal error in a policy of this route")
        finally:
            current.reset(token)
        self.metrics.observe(response.status, self._now() - began)
        return response

    def close(self) -> None:
        """Let go of what the policies hold, such as connections to a store."""
        for policy in self.stack.flat():
            close = getattr(policy, "close", None)
            if close is not None:
                close()

    def _head(self, request: HttpRequest) -> bytes:
        """The request's head as the targets get it; the same for every attempt."""
        lines = [
            b"%b %b HTTP/1.1\r\nhost: %b\r\n"
            % (request.method.encode(), request.target, request.host)
        ]
        lines += [b"%b: %b\r\n" % field for field in request.headers]
        if request.length is not None:
            lines.append(b"content-length: %d\r\n" % request.length)
        elif request.body is not None:
            lines.append(b"transfer-encoding: chunked\r\n")
        if request.upgrade is not None:
            lines.append(b"connection: upgrade\r\nupgrade: %b\r\n" % request.upgrade)
        if request.origin:
            lines += [b"%b: %b\r\n" % field for field in self._origin(request)]
            lines.append(_END)
        else:
            lines.append(self._tail(request.peer, request.host))
        return b"".join(lines)

    def _tail(self, peer: str, host: bytes) -> bytes:
        """The lines that say where a request came from: the same for all of one connection."""
        tail = self._tails.get((peer, host))
        if tail is None:
            if len(self._tails) >= _TAILS:
                self._tails.clear()
            fields = origin_fields(peer, host, b"http")
            tail = b"".join(b"%b: %b\r\n" % field for field in fields) + _END
            self._tails[peer, host] = tail
        return tail

    def _origin(self, request: HttpRequest) -> list[tuple[bytes, bytes]]:
        fields = origin_fields(request.peer, request.host, request.scheme)
        if not self._trusted or not self._trusted.trusts(request.peer):
            return fields
        # A proxy of ours speaks: keep what it says, and add ourselves at the end of each list.
        mine = dict(fields)
        kept: dict[bytes, bytes] = {}
        for name, value in request.origin:
            kept[name] = b"%b, %b" % (kept[name], value) if name in kept else value
        for name in (b"x-forwarded-for", b"forwarded"):
            kept[name] = b"%b, %b" % (kept[name], mine[name]) if name in kept else mine[name]
        return list({**mine, **kept}.items())

    def _rejected(self, request: HttpRequest, error: Rejected) -> Response:
        if isinstance(error, Refused):
            return plain(error.status, error.reason)
        kind = error.policy.rpartition(".")[2]
        request.notes["rejected"] = kind
        request.notes["reason"] = str(error)
        self.metrics.reject(kind)
        status = 429 if isinstance(error, RateLimited) else 503
        extra = [(b"escala-rejected", kind.encode())]
        if error.retry_after is not None:
            seconds = max(1, math.ceil(min(error.retry_after, 1e6)))  # never earlier than true
            extra.append((b"retry-after", b"%d" % seconds))
        return plain(status, _PUBLIC[status], *extra)


def _failed(error: Exception) -> Response:
    if isinstance(error, DeadlineExceeded):
        return plain(504, "the service did not answer in time")
    if isinstance(error, NoHealthyBackend):
        return plain(503, "no healthy target to serve this request", (b"retry-after", b"1"))
    return plain(502, "the service broke off its answer or could not be reached")

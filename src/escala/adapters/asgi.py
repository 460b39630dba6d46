"""Policies around every request that an ASGI application serves (FastAPI, Starlette, Django)."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from escala.adapters.gatekeeper import Gatekeeper, refusal
from escala.adapters.given_priority import Priority
from escala.adapters.incoming_request import IncomingRequest
from escala.adapters.pure.rate_limit_fields import Fields
from escala.errors import DeadlineExceeded, Rejected
from escala.kernel.context import deadline_variable, restore, serving, shorten
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiMiddleware:
    """Limit what an application is asked: `AsgiMiddleware(app, TokenBucket("100/min"))`.

    - `policy`: a rate limiter, another policy, or a stack of them. Rate limiters are asked
      first, and every answer tells how they stand: `RateLimit-Policy` and `RateLimit`. The other
      policies surround the request until its answer is complete. None may repeat calls.
    - `deadline`: the longest that an answer may take to begin, known to everything inside
      through `context.deadline()`; a client may ask for less with `X-Request-Timeout-Ms`.
    - `priority`: how much a request matters to `Shed` and to queues by priority, as a function of
      it; all alike (0) without. What it is asked for are the names that a `key` may have.
    - `older`: send `X-RateLimit-Limit`, `-Remaining` and `-Reset` as well.

    A rate limit answers 429, another refusal 503, a deadline 504: with `Retry-After`, rounded
    up, where it is known, and as `application/problem+json` that says who refused and why. The
    application's own unhandled `Rejected` and `DeadlineExceeded` are answered likewise. Nothing is
    buffered; websockets and lifespan events pass untouched.
    """

    def __init__(
        self,
        app: App,
        policy: Policy,
        *,
        deadline: float | str | None = None,
        priority: Priority | None = None,
        older: bool = False,
    ) -> None:
        self.app = app
        self._gate = Gatekeeper(
            policy, deadline, priority=priority, older=older, where="AsgiMiddleware"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _known(scope)
        self._gate.prioritise(request)
        outer = deadline_variable.get()
        until = self._gate.until(request, colours.loop.now())
        before = shorten(until)
        answer = _Answer(send, until, outer)
        try:
            with serving(request):
                await self._gate.admit(colours.loop, answer.fields)
                inner = functools.partial(self.app, scope, receive, answer.send)
                await self._gate.rest.around(inner, colours.loop)
        except (Rejected, DeadlineExceeded) as error:
            if answer.begun:
                raise
            await answer.refuse(error)
        finally:
            restore(before)


class _Answer:
    """The way out: adds fields to the head, and knows whether that has left."""

    def __init__(self, send: Send, until: float, outer: float) -> None:
        self._send, self._until, self._outer = send, until, outer
        self.fields: Fields = []
        self.begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            message = {**message, "headers": [*message.get("headers", ()), *self._raw()]}
            if deadline_variable.get() == self._until:
                # The client waits for the answer to begin; a long one may go on.
                deadline_variable.set(self._outer)
        await self._send(message)

    async def refuse(self, error: Rejected | DeadlineExceeded) -> None:
        status, fields, body = refusal(error)
        self.fields += [*fields, ("Content-Length", str(len(body)))]
        await self.send({"type": "http.response.start", "status": status, "headers": []})
        await self.send({"type": "http.response.body", "body": body})

    def _raw(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower().encode(), value.encode()) for name, value in self.fields]


def _known(scope: Scope) -> IncomingRequest:
    def header(name: str) -> str | None:
        wanted = name.lower().encode("latin-1", "replace")
        for have, value in scope["headers"]:
            if have == wanted:
                text: str = value.decode("latin-1")
                return text
        return None

    client = scope.get("client")
    return IncomingRequest(scope["method"], scope["path"], client[0] if client else "", header)

"""Policies around every request that a WSGI application serves (Flask, Django, Pyramid)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeAlias

from escala.adapters.gatekeeper import Gatekeeper, refusal
from escala.adapters.given_priority import Priority
from escala.adapters.incoming_request import IncomingRequest
from escala.adapters.pure.rate_limit_fields import Fields
from escala.errors import DeadlineExceeded, Rejected
from escala.kernel.context import current, shorten
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours, drive

Environ: TypeAlias = dict[str, Any]
Raised: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
)
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class WsgiMiddleware:
    """Limit what an application is asked: `WsgiMiddleware(app, TokenBucket("100/min"))`.

    `policy`, `deadline`, `priority` and `older` are those of `AsgiMiddleware`, and so are the
    answers. The policies surround the request until its answer is complete, also one that is made
    piece by piece; nothing is buffered. A thread cannot be interrupted: what waits inside obeys
    `context.deadline()`.

    >>> from escala import TokenBucket
    >>> from escala.adapters import WsgiMiddleware
    >>> def shop(environ, start_response):
    ...     start_response("200 OK", [])
    ...     return [b"tea"]
    >>> app = WsgiMiddleware(shop, TokenBucket("100/min", key="client_ip", name="shop"))
    >>> environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.7"}
    >>> app(environ, lambda status, fields, error=None: print(status, fields[1]))
    200 OK ('RateLimit', '"shop";r=99;t=1')
    [b'tea']
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
            policy, deadline, priority=priority, older=older, where="WsgiMiddleware"
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        served = _Served(self._gate, start_response)
        return served.begin(self.app, environ)


class _Served:
    """One request and its answer, in a context of its own: threads serve one after another."""

    def __init__(self, gate: Gatekeeper, start_response: StartResponse) -> None:
        self._gate, self._start_response = gate, start_response
        self._context: Context = copy_context()
        self._fields: Fields = []
        self._begun = self._open = False

    def begin(self, app: App, environ: Environ) -> Iterable[bytes]:
        try:
            parts = self._context.run(self._enter, app, environ)
        except (Rejected, DeadlineExceeded) as error:
            if self._begun:
                raise
            return self.refuse(error)
        complete = isinstance(parts, (list, tuple))
        if complete or not (self._open or inspect.isgenerator(parts)):
            self.end(None)
            return parts
        return _Parts(self, parts)

    def _enter(self, app: App, environ: Environ) -> Iterable[bytes]:
        request = _known(environ)
        self._gate.prioritise(request)
        current.set(request)
        shorten(self._gate.until(request, colours.thread.now()))
        drive(self._gate.admit(colours.thread, self._fields))
        if self._gate.rest.policies:
            self._gate.rest.__enter__()
            self._open = True
        try:
            return app(environ, self.start_response)
        except BaseException as error:
            self._exit(error)
            raise

    def start_response(
        self, status: str, headers: list[tuple[str, str]], error: Raised | None = None
    ) -> Callable[[bytes], object]:
        self._begun = True
        return self._start_response(status, [*headers, *self._fields], *([error] if error else []))

    def refuse(self, error: Rejected | DeadlineExceeded) -> list[bytes]:
        status, fields, body = refusal(error)
        self._fields += [*fields, ("Content-Length", str(len(body)))]
        self.start_response(f"{status} {HTTPStatus(status).phrase}", [])
        return [body]

    @property
    def begun(self) -> bool:
        return self._begun

    def inside(self, step: Callable[..., Any], *given: Any) -> Any:  # noqa: ANN401  what the step returns
        return self._context.run(step, *given)

    def end(self, error: BaseException | None) -> None:
        self._context.run(self._exit, error)

    def _exit(self, error: BaseException | None) -> None:
        if self._open:
            self._open = False
            trace = None if error is None else error.__traceback__
            self._gate.rest.__exit__(None if error is None else type(error), error, trace)


class _Parts:
    """An answer that is made piece by piece; its end is the end of the request."""

    def __init__(self, served: _Served, parts: Iterable[bytes]) -> None:
        self._served, self._parts = served, parts
        try:
            self._rest: Iterator[bytes] = served.inside(iter, parts)
        except BaseException as error:
            served.end(error)
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            part: bytes = self._served.inside(next, self._rest)
        except StopIteration:
            self._served.end(None)
            raise
        except (Rejected, DeadlineExceeded) as error:
            self._served.end(error)
            if self._served.begun:
                raise
            self._rest = iter(())
            return self._served.refuse(error)[0]
        except BaseException as error:
            self._served.end(error)
            raise
        return part

    def close(self) -> None:
        try:
            if hasattr(self._parts, "close"):
                self._served.inside(self._parts.close)
        finally:
            self._served.end(None)


def _known(environ: Environ) -> IncomingRequest:
    def header(name: str) -> str | None:
        key = name.upper().replace("-", "_")
        prefix = "" if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else "HTTP_"
        value: str | None = environ.get(prefix + key)
        return value

    return IncomingRequest(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", ""),
        environ.get("REMOTE_ADDR", ""),
        header,
    )

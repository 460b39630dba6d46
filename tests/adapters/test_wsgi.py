"""The WSGI middleware, in virtual time and without a server."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from escala.adapters import WsgiMiddleware
from escala.errors import BulkheadFull, CircuitOpen, ConfigError
from escala.kernel.context import current_request, deadline
from escala.kernel.runtime import colours, drive
from escala.kernel.stack import Stack
from escala.limiting import TokenBucket
from escala.resilience import Bulkhead, CircuitBreaker, Deadline, Retry
from escala.testing import VirtualRuntime


class Served:
    def __init__(self) -> None:
        self.status = ""
        self.fields: list[tuple[str, str]] = []
        self.body = b""

    def start_response(self, status: str, fields: list[tuple[str, str]], error: Any = None) -> Any:
        self.status, self.fields = status, fields
        return self.write

    def write(self, data: bytes) -> None:
        self.body += data

    @property
    def headers(self) -> dict[str, str]:
        assert len(dict(self.fields)) == len(self.fields)
        return dict(self.fields)


def begin(app: Any, served: Served, client: str, **environ: str) -> Iterable[bytes]:
    values = {"REQUEST_METHOD": "GET", "PATH_INFO": "/tea", "REMOTE_ADDR": client, **environ}
    return app(values, served.start_response)


def ask(world: VirtualRuntime, app: Any, client: str = "192.0.2.7", **environ: str) -> Served:
    """What a WSGI server does with an application."""

    async def serve() -> Served:
        served = Served()
        parts = begin(app, served, client, **environ)
        try:
            for part in parts:
                served.write(part)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        return served

    return world.run(serve())


def tea(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("X-Own", "1")])
    return [b"green ", b"tea"]


def poured(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"green "
    yield b"tea"


def test_every_answer_tells_how_the_limit_stands(world: VirtualRuntime) -> None:
    app = WsgiMiddleware(tea, TokenBucket("1/min", key="client_ip", name="shop"), older=True)
    first, second = ask(world, app), ask(world, app)
    assert (first.status, first.body) == ("200 OK", b"green tea")
    assert first.headers == {
        "X-Own": "1",
        "RateLimit-Policy": '"shop";q=1;w=60',
        "RateLimit": '"shop";r=0;t=60',
        "X-RateLimit-Limit": "1",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "60",
    }
    assert second.status == "429 Too Many Requests"
    assert second.headers["Retry-After"] == "60"
    assert second.headers["Content-Type"] == "application/problem+json"
    assert second.headers["Content-Length"] == str(len(second.body))
    assert second.headers["RateLimit"] == '"shop";r=0;t=60'
    assert json.loads(second.body)["violated-policies"] == ["shop"]
    assert ask(world, app, "192.0.2.8").status == "200 OK"


def test_the_priority_of_a_request_is_known_inside(world: VirtualRuntime) -> None:
    seen: list[int] = []

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        request = current_request()
        assert request is not None
        seen.append(request.priority)
        return tea(environ, start_response)

    guarded = WsgiMiddleware(
        app, Bulkhead(1), priority=lambda request: int(request.get("path") == "/pay")
    )
    for path in ("/pay", "/"):
        assert ask(world, guarded, PATH_INFO=path).status == "200 OK"
    assert seen == [1, 0]


def test_complete_answers_pass_as_they_are(world: VirtualRuntime) -> None:
    parts = [b"green ", b"tea"]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return parts

    bulkhead = Bulkhead(1)
    assert begin(WsgiMiddleware(app, bulkhead), Served(), "") is parts
    assert bulkhead.free == 1


def test_a_file_wrapper_stays_one_under_a_rate_limit(world: VirtualRuntime) -> None:
    class FileWrapper:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"tea"])

    wrapped = FileWrapper()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return wrapped

    assert begin(WsgiMiddleware(app, TokenBucket("1/s")), Served(), "") is wrapped


@pytest.mark.parametrize("close_early", [False, True])
def test_a_slot_is_held_until_the_answer_is_complete(
    world: VirtualRuntime, close_early: bool
) -> None:
    bulkhead = Bulkhead(1)
    app, served = WsgiMiddleware(poured, bulkhead), Served()
    parts: Any = begin(app, served, "")
    assert next(parts) == b"green "
    assert bulkhead.free == 0
    assert ask(world, app).status == "503 Service Unavailable"
    if not close_early:
        assert list(parts) == [b"tea"]
        assert bulkhead.free == 1
    parts.close()
    parts.close()
    assert bulkhead.free == 1
    assert ask(world, app).body == b"green tea"


@pytest.mark.parametrize("answer", [None, 7])
def test_no_slot_is_lost_to_an_answer_that_is_none(world: VirtualRuntime, answer: Any) -> None:
    bulkhead = Bulkhead(1)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return answer

    for _ in range(3):
        with pytest.raises(TypeError, match="not iterable"):
            ask(world, WsgiMiddleware(app, bulkhead))
        assert bulkhead.free == 1


def test_the_inner_answer_is_closed(world: VirtualRuntime) -> None:
    class Parts:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"tea"])

        def close(self) -> None:
            self.closed += 1

    inner = Parts()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return inner

    assert ask(world, WsgiMiddleware(app, Bulkhead(1))).body == b"tea"
    assert inner.closed == 1


@pytest.mark.parametrize("late", [False, True])
def test_refusals_of_the_app_are_told(world: VirtualRuntime, late: bool) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        raise CircuitOpen("bank", "the circuit is open", 2.5)
        yield b""

    def at_once(environ: Any, start_response: Any) -> Any:
        return next(app(environ, start_response))

    bulkhead = Bulkhead(1)
    refused = ask(world, WsgiMiddleware(app if late else at_once, bulkhead))
    assert refused.status == "503 Service Unavailable"
    assert refused.headers["Retry-After"] == "3"
    assert json.loads(refused.body)["detail"].startswith("bank: the circuit is open")
    assert bulkhead.free == 1


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_that_has_begun_cannot_become_another(world: VirtualRuntime, late: bool) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        raise BulkheadFull("inner", "full")
        yield b""

    def at_once(environ: Any, start_response: Any) -> Any:
        return next(app(environ, start_response))

    bulkhead = Bulkhead(1)
    with pytest.raises(BulkheadFull):
        ask(world, WsgiMiddleware(app if late else at_once, bulkhead))
    assert bulkhead.free == 1


@pytest.mark.parametrize("late", [False, True])
def test_other_errors_pass_and_are_counted(world: VirtualRuntime, late: bool) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        raise ZeroDivisionError
        yield b""

    def at_once(environ: Any, start_response: Any) -> Any:
        return next(app(environ, start_response))

    breaker = CircuitBreaker(minimum_calls=1)
    with pytest.raises(ZeroDivisionError):
        ask(world, WsgiMiddleware(app if late else at_once, breaker))
    assert ask(world, WsgiMiddleware(app, breaker)).status == "503 Service Unavailable"


@pytest.mark.parametrize(
    ("own", "asked", "expected"),
    [(None, None, math.inf), (None, "1500", 1.5), ("2s", None, 2.0), ("2s", "9000", 2.0)],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_the_deadline_comes_from_the_client_within_our_own(
    world: VirtualRuntime, own: str | None, asked: str | None, expected: float, lazy: bool
) -> None:
    left: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        left.append((deadline(), current_request().get("path")))  # type: ignore[union-attr]
        start_response("200 OK", [])
        yield b"tea"

    def at_once(environ: Any, start_response: Any) -> Any:
        return list(app(environ, start_response))

    environ = {} if asked is None else {"HTTP_X_REQUEST_TIMEOUT_MS": asked}
    limited = WsgiMiddleware(app if lazy else at_once, Stack(), deadline=own)
    assert ask(world, limited, **environ).body == b"tea"
    assert left == [(expected, "/tea")]
    assert deadline() == math.inf
    assert current_request() is None


def test_a_deadline_answers_504(world: VirtualRuntime) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        drive(colours.thread.sleep(5))
        return tea(environ, start_response)

    late = ask(world, WsgiMiddleware(app, Deadline("2s")))
    assert late.status == "504 Gateway Timeout"
    assert world.now() == 2.0


def test_headers_are_found_by_their_http_names(world: VirtualRuntime) -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        request = current_request()
        assert request is not None
        names = ["host", "header:Content-Type", "header:X-Tea", "header:none", "client_ip"]
        seen.append([request.get(name) for name in names])
        return tea(environ, start_response)

    environ = {"HTTP_HOST": "shop.test", "CONTENT_TYPE": "text/plain", "HTTP_X_TEA": "green"}
    ask(world, WsgiMiddleware(app, Stack()), **environ)
    assert seen == [["shop.test", "text/plain", "green", None, "192.0.2.7"]]


def test_policies_that_repeat_are_refused() -> None:
    with pytest.raises(ConfigError, match="WsgiMiddleware: Retry may run its call again"):
        WsgiMiddleware(tea, Retry())

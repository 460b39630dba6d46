"""Every HTTP client's adapter against a real service that fails on demand."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from socket import create_server
from typing import TypeVar

import httpx
import pytest
from tests.adapters.callers import Caller, every_client, in_loop
from tests.adapters.service import Service, running

from escala.adapters import HttpxTransport
from escala.errors import CircuitOpen, DeadlineExceeded
from escala.kernel.events import subscribe
from escala.kernel.policy import Next, Policy
from escala.kernel.runtime import Runtime
from escala.kernel.stack import Stack
from escala.resilience import (
    CircuitBreaker,
    Deadline,
    FunctionFailed,
    Hedge,
    Retry,
    Timeout,
    standard,
)

T = TypeVar("T")

pytestmark = pytest.mark.live


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as started:
        yield started


def quick(attempts: int = 3, **more: object) -> Retry:
    return Retry(attempts, base=0.01, cap=0.02, budget=None, **more)  # type: ignore[arg-type]


@every_client
@in_loop
async def test_what_fails_by_chance_is_repeated(caller: Caller, service: Service) -> None:
    service.script.extend([503, "reset", 200])
    assert await caller.ask(quick(), service.url) == (200, "answer 200")
    assert service.attempts == 3


@every_client
@in_loop
async def test_a_failed_answer_that_breaks_off_is_a_failure(
    caller: Caller, service: Service
) -> None:
    not_gzip = (503, {"content-encoding": "gzip"}, "this is not gzip")
    service.script.extend(["break off", not_gzip, 200])
    assert await caller.ask(quick(), service.url) == (200, "answer 200")
    assert service.attempts == 3


@every_client
@in_loop
async def test_the_deadline_ends_a_failed_answer_that_stalls(
    caller: Caller, service: Service
) -> None:
    service.script.append("stall")
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await caller.ask(Stack(Deadline("300ms"), quick(1)), service.url)
    assert time.monotonic() - began < 1.5


@every_client
@in_loop
async def test_the_last_failed_answer_comes_as_it_is(caller: Caller, service: Service) -> None:
    service.script.extend([500, 502, (503, {"x-why": "tea"}, "sold out")])
    assert await caller.ask(quick(), service.url) == (503, "sold out")
    assert service.attempts == 3


@every_client
@pytest.mark.parametrize("status", [404, 400, 501, 505, 301])
@in_loop
async def test_other_answers_are_not_repeated(
    caller: Caller, service: Service, status: int
) -> None:
    service.script.append(status)
    assert (await caller.ask(quick(), service.url)).status == status
    assert service.attempts == 1


@every_client
@in_loop
async def test_the_client_s_own_error_is_raised_with_a_note(
    caller: Caller, service: Service
) -> None:
    service.script.extend(["reset"] * 5)
    with pytest.raises(caller.errors.broken) as caught:
        await caller.ask(quick(), service.url)
    assert service.attempts == 3
    assert any("3 attempts" in note for note in caught.value.__notes__)


@every_client
@in_loop
async def test_no_one_listens(caller: Caller) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(caller.errors.refused) as caught:
        await caller.ask(quick(2), f"http://127.0.0.1:{port}")
    assert caught.value.__notes__


@every_client
@in_loop
async def test_a_post_is_sent_once(caller: Caller, service: Service) -> None:
    service.script.extend([503, 200])
    assert (await caller.ask(quick(), service.url, "POST", body=b"tea")).status == 503
    assert service.attempts == 1


@every_client
@in_loop
async def test_a_post_with_a_key_is_repeated(caller: Caller, service: Service) -> None:
    service.script.extend([503, "reset", 200])
    key = {"Idempotency-Key": "7"}
    answer = await caller.ask(quick(), service.url, "POST", body=b"tea", headers=key)
    assert answer.status == 200
    assert [asked.body for asked in service.asked] == [b"tea"] * 3


@every_client
@in_loop
async def test_a_body_that_is_a_stream_is_sent_once(caller: Caller, service: Service) -> None:
    service.script.extend([503, 200])
    body = caller.stream(b"green ", b"tea")
    answer = await caller.ask(quick(unsafe=True), service.url, "PUT", body=body)
    assert answer == (503, "answer 503")
    assert [asked.body for asked in service.asked] == [b"green tea"]


class Careless(Policy):
    """Repeats whatever it is given, and asks no one."""

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        try:
            return await call()
        except Exception:  # noqa: BLE001
            return await call()


@every_client
@in_loop
async def test_no_policy_can_send_a_stream_twice(caller: Caller, service: Service) -> None:
    service.script.extend([503, 200])
    with pytest.raises(RuntimeError, match="only once"):
        await caller.ask(Careless(), service.url, "PUT", body=caller.stream(b"tea"))
    assert [asked.body for asked in service.asked] == [b"tea"]


@every_client
@in_loop
async def test_retry_after_is_obeyed(caller: Caller, service: Service) -> None:
    service.script.extend([(503, {"retry-after": "1"}, "wait"), 200])
    began = time.monotonic()
    assert (await caller.ask(quick(), service.url)).status == 200
    assert 1.0 <= time.monotonic() - began < 2


@every_client
@in_loop
async def test_a_date_too_far_away_ends_the_tries_at_once(caller: Caller, service: Service) -> None:
    later = formatdate(time.time() + 60, usegmt=True)
    service.script.extend([(429, {"retry-after": later}, "wait"), 200])
    began = time.monotonic()
    answer = await caller.ask(Stack(Deadline("5s"), quick()), service.url)
    assert answer == (429, "wait")
    assert service.attempts == 1
    assert time.monotonic() - began < 1


@every_client
@in_loop
async def test_the_breaker_opens_and_refuses(caller: Caller, service: Service) -> None:
    service.script.extend([503, "reset", 500, 200])
    breaker = CircuitBreaker(minimum_calls=3, window="60s", cooldown="60s")
    with pytest.raises(CircuitOpen):
        await caller.ask(Stack(quick(9), breaker), service.url)
    assert service.attempts == 3


@every_client
@in_loop
async def test_answers_close_the_breaker_again(caller: Caller, service: Service) -> None:
    service.script.extend([404] * 10)
    breaker = CircuitBreaker(minimum_calls=3)
    await caller.ask(breaker, service.url, times=10)
    assert breaker.state.value == "closed"


@every_client
@in_loop
async def test_the_deadline_bounds_a_service_that_hangs(caller: Caller, service: Service) -> None:
    service.script.extend(["hang"] * 9)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await caller.ask(Stack(Deadline("300ms"), quick()), service.url)
    assert time.monotonic() - began < 1


@every_client
@in_loop
async def test_a_slow_attempt_is_given_up_and_repeated(caller: Caller, service: Service) -> None:
    service.script.extend(["hang", 200])
    stack = Stack(Deadline("3s"), quick(), Timeout("200ms"))
    began = time.monotonic()
    assert (await caller.ask(stack, service.url)).status == 200
    assert 0.2 <= time.monotonic() - began < 1.5


@every_client
@in_loop
async def test_the_service_is_told_the_time_left(caller: Caller, service: Service) -> None:
    await caller.ask(Stack(Deadline("3s"), Timeout("1s")), service.url)
    await caller.ask(quick(), service.url)
    with_limit, without = service.asked
    assert 500 < int(with_limit.headers["x-request-timeout-ms"]) <= 1000
    assert "x-request-timeout-ms" not in without.headers


@every_client
@in_loop
async def test_connections_go_back_to_the_pool(caller: Caller, service: Service) -> None:
    """With room for one connection, and failed answers in between, all use the same one."""
    service.script.extend([503, 200, 500, 503, 200, 200])
    assert (await caller.ask(quick(), service.url, times=3)).status == 200
    assert service.attempts == 6
    assert {asked.connection for asked in service.asked} == {1}
    await gone(service)


@every_client
@in_loop
async def test_a_dropped_answer_of_unknown_length_is_let_go(
    caller: Caller, service: Service
) -> None:
    chunked = {"transfer-encoding": "chunked"}
    service.script.extend([(503, chunked, "x" * 100_000), (503, chunked, "no"), 200])
    assert (await caller.ask(quick(), service.url, times=2)).status == 200
    await gone(service)


@every_client
@in_loop
async def test_a_long_failed_answer_arrives_whole(caller: Caller, service: Service) -> None:
    service.script.extend([(503, {}, "x" * 200_000)] * 2)
    answer = await caller.ask(quick(2), service.url)
    assert answer == (503, "x" * 200_000)


@every_client
@in_loop
async def test_one_may_say_what_a_failure_is(caller: Caller, service: Service) -> None:
    service.script.extend([404, 503])

    def missing(response: object) -> bool:
        return 404 in (getattr(response, "status_code", 0), getattr(response, "status", 0))

    assert (await caller.ask(quick(), service.url, judge=missing)).status == 503
    assert service.attempts == 2


@every_client
@in_loop
async def test_a_judge_that_fails_is_as_if_there_were_none(
    caller: Caller, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", lambda *error: None)
    told: list[FunctionFailed] = []
    stop = subscribe(FunctionFailed, told.append)
    service.script.extend([503, 404])

    def broken(response: object) -> bool:
        raise LookupError("a bug in it")

    assert (await caller.ask(quick(), service.url, judge=broken)).status == 404
    stop()
    assert service.attempts == 2, "a 503 is a failure and a 404 is not"
    where = {"httpx": "HttpxTransport", "requests": "RequestsAdapter"}
    name = where.get(caller.name.partition("-")[0], "AiohttpMiddleware")
    assert [(each.name, each.function, each.cause) for each in told] == [
        (name, "judge", "LookupError")
    ] * 2


@every_client
@in_loop
async def test_the_standard_stack_does_all_of_it(caller: Caller, service: Service) -> None:
    service.script.extend([503, "reset", 200])
    assert (await caller.ask(standard(), service.url)).status == 200
    assert service.attempts == 3


@every_client
@in_loop
async def test_a_client_s_own_timeout_is_its_own_error(caller: Caller, service: Service) -> None:
    service.script.extend(["hang"])
    with pytest.raises((caller.errors.any, TimeoutError)) as caught:
        await caller.ask(CircuitBreaker(), service.url, timeout=0.2)
    assert not isinstance(caught.value, DeadlineExceeded)


def test_the_loser_of_a_hedge_between_threads_is_let_go() -> None:
    bodies: list[Body] = []
    won = threading.Event()

    class Body(httpx.SyncByteStream):
        open = True

        def __iter__(self) -> Iterator[bytes]:
            yield b"tea"

        def close(self) -> None:
            self.open = False

    def service(request: httpx.Request) -> httpx.Response:
        body = Body()
        bodies.append(body)
        if len(bodies) == 1:
            won.wait(5)
        return httpx.Response(200, stream=body)

    transport = HttpxTransport(Hedge("50ms", budget=None), httpx.MockTransport(service))
    with httpx.Client(transport=transport) as client:
        assert client.get("http://shop.test").text == "tea"
        won.set()
        end = time.monotonic() + 5
        while any(body.open for body in bodies):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert len(bodies) == 2


async def gone(service: Service) -> None:
    """Every connection is closed once its client is: none was leaked."""
    async with asyncio.timeout(3):
        while service.open:  # noqa: ASYNC110  what it waits for tells no one
            await asyncio.sleep(0.01)

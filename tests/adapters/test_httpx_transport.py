"""httpx under policies in virtual time, in both colours, and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from escala.adapters import HttpxTransport
from escala.errors import DeadlineExceeded, RateLimited
from escala.kernel.context import Request, current_request, serving
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.limiting import TokenBucket
from escala.resilience import Bulkhead, Deadline, Hedge, Retry, standard
from escala.testing import Trial, VirtualRuntime, cancel_everywhere


class Service:
    """Answers from a script, and sees how its answers are let go."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[httpx.Request] = []
        self.open = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        step = self.script.pop(0) if self.script else 200
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step()
            step = 200
        status, headers = step if isinstance(step, tuple) else (step, {})
        self.open += 1
        return httpx.Response(status, headers=headers, stream=_Body(self))

    async def slow(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1)  # noqa: TID251  a service takes its time
        return self(request)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, service: Service) -> None:
        self.service, self.closed = service, False

    def __iter__(self) -> Any:
        yield b"tea"

    async def __aiter__(self) -> Any:
        yield b"tea"

    def close(self) -> None:
        self.service.open -= not self.closed
        self.closed = True

    async def aclose(self) -> None:
        self.close()


async def sync_get(policy: Policy, service: Service, **options: Any) -> httpx.Response:
    transport = HttpxTransport(policy, httpx.MockTransport(service), **options)
    with httpx.Client(transport=transport, timeout=9) as client:
        return client.get("http://shop.test/tea?cup=1", headers={"X-Tea": "green"})  # noqa: ASYNC212


async def async_get(policy: Policy, service: Service, **options: Any) -> httpx.Response:
    transport = HttpxTransport(policy, atransport=httpx.MockTransport(service), **options)
    async with httpx.AsyncClient(transport=transport, timeout=9) as client:
        return await client.get("http://shop.test/tea?cup=1", headers={"X-Tea": "green"})


both_colours = pytest.mark.parametrize("get", [sync_get, async_get], ids=["sync", "async"])
Get = Callable[..., Any]


@both_colours
def test_a_retry_waits_as_long_as_the_answer_asks(world: VirtualRuntime, get: Get) -> None:
    service = Service((503, {"Retry-After": "7"}), 200)
    answer = world.run(get(Retry(base=0), service))
    assert (answer.status_code, answer.text) == (200, "tea")
    assert world.now() == 7.0
    assert service.open == 0


@both_colours
def test_a_wait_beyond_the_deadline_is_not_begun(world: VirtualRuntime, get: Get) -> None:
    service = Service((503, {"Retry-After": "70"}), 200)
    assert world.run(get(standard(), service)).status_code == 503
    assert world.now() == 0.0


@both_colours
@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"), httpx.ReadError("no"), httpx.ReadTimeout("no"),
        httpx.PoolTimeout("no"), httpx.ProxyError("no"), httpx.RemoteProtocolError("no"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_fails_by_chance(world: VirtualRuntime, get: Get, error: Exception) -> None:
    assert world.run(get(Retry(), Service(error, 200))).status_code == 200
    with pytest.raises(type(error)) as caught:
        world.run(get(Retry(2), Service(error, error)))
    assert caught.value is error
    assert len(error.__notes__) == 1
    assert isinstance(caught.value.request, httpx.Request)  # type: ignore[attr-defined]


@both_colours
@pytest.mark.parametrize(
    "error", [httpx.LocalProtocolError("no"), httpx.UnsupportedProtocol("no"), ValueError("no")]
)
def test_our_own_mistakes_are_made_once(world: VirtualRuntime, get: Get, error: Exception) -> None:
    service = Service(error)
    with pytest.raises(type(error)) as caught:
        world.run(get(Retry(), service))
    assert caught.value is error
    assert len(service.asked) == 1


@both_colours
def test_a_policy_may_name_the_client_s_own_errors(world: VirtualRuntime, get: Get) -> None:
    retry = Retry(on=httpx.ConnectError)
    assert world.run(get(retry, Service(httpx.ConnectError("no"), 200))).status_code == 200
    with pytest.raises(httpx.ReadError):
        world.run(get(retry, Service(httpx.ReadError("no"), 200)))


@both_colours
def test_a_refusal_is_escala_s(world: VirtualRuntime, get: Get) -> None:
    limiter, service = TokenBucket("1/h", key="host"), Service()
    world.run(get(limiter, service))
    with pytest.raises(RateLimited, match="for this host"):
        world.run(get(limiter, service))
    assert len(service.asked) == 1


@both_colours
def test_time_that_is_up_is_said_by_who_set_it(world: VirtualRuntime, get: Get) -> None:
    def hang() -> None:
        world.advance(5)
        raise httpx.ReadTimeout("no")

    with pytest.raises(DeadlineExceeded, match="deadline: the call with all") as caught:
        world.run(get(Stack(Deadline("2s"), Retry()), Service(hang, 200)))
    assert isinstance(caught.value.__cause__, httpx.ReadTimeout)


@both_colours
def test_a_deadline_further_out_is_obeyed_without_a_policy(world: VirtualRuntime, get: Get) -> None:
    def hang() -> None:
        world.advance(5)
        raise httpx.ReadTimeout("no")

    with pytest.raises(DeadlineExceeded) as caught:
        world.run(Deadline("2s").acall(get, Bulkhead(1), Service(hang)))
    assert "deadline: " in str(caught.value)


@both_colours
def test_the_time_left_shortens_httpx_s_own_and_is_told(world: VirtualRuntime, get: Get) -> None:
    service = Service(503, 200)
    world.run(get(Stack(Deadline("3s"), Retry(base=0)), service))
    for sent in service.asked:
        timeouts = sent.extensions["timeout"]
        assert sent.headers["x-request-timeout-ms"] == "3000"
        assert timeouts["read"] == timeouts.get("pool") == 9, "outside the call, its own again"
    world.run(get(Stack(), service))
    assert "x-request-timeout-ms" not in service.asked[-1].headers


def test_each_phase_gets_what_is_left_and_not_the_whole(world: VirtualRuntime) -> None:
    seen: list[Any] = []

    class Phases(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            timeouts = request.extensions["timeout"]
            for name in ("pool", "connect", "write", "read"):
                seen.append(timeouts.get(name))
                world.advance(1)
            seen.append(timeouts["read"])
            return httpx.Response(200)

    async def main() -> None:
        transport = HttpxTransport(Deadline("3.5s"), Phases())
        httpx.Client(transport=transport, timeout=httpx.Timeout(2, read=None)).get("http://a.test")

    world.run(main())
    assert seen == [2, 2, 1.5, 0.5, 0.001]


@both_colours
def test_policies_know_the_request(world: VirtualRuntime, get: Get) -> None:
    seen: list[Any] = []
    names = ["key", "host", "method", "header:x-tea", "header:none", "tenant"]

    def look() -> None:
        request = current_request()
        assert request is not None
        seen.append([request.get(name) for name in names])
        seen.append((request.priority, request.idempotent, request.repeatable))

    async def main() -> None:
        with serving(Request(tenant="ann", priority=3)) as outer:
            await get(Stack(), Service(look))
            assert current_request() is outer

    world.run(main())
    assert seen == [
        ["shop.test", "shop.test", "GET", "green", None, "ann"],
        (3, True, True),
    ]


@both_colours
def test_answers_that_a_policy_drops_by_itself_are_closed(world: VirtualRuntime, get: Get) -> None:
    service = Service(202, 202, 200)
    waiting = Retry(judge=lambda answer: answer.status_code == 202)
    assert world.run(get(waiting, service)).status_code == 200
    assert service.open == 0


def test_nothing_stays_open_when_a_call_is_cancelled_anywhere() -> None:
    async def scenario(trial: Trial) -> None:
        service, slots = Service(503, 503), Bulkhead(1)
        policy = Stack(Deadline("9s"), Retry(base=1), slots)
        transport = HttpxTransport(policy, atransport=httpx.MockTransport(service.slow))

        async def get() -> None:
            async with httpx.AsyncClient(transport=transport) as client:
                await client.get("http://shop.test")

        await asyncio.wait({trial.victim(get())})
        assert service.open == 0
        assert slots.free == 1

    assert cancel_everywhere(scenario) >= 6


class SideBySide(Policy):
    """Makes two attempts at once, as a hedge does, and takes the first."""

    async def around(self, call: Any, runtime: Any) -> Any:
        tasks = [asyncio.ensure_future(call()) for _ in range(2)]
        await asyncio.wait(tasks)
        return tasks[0].result()


def test_attempts_side_by_side_leave_one_answer(world: VirtualRuntime) -> None:
    service = Service()

    async def main() -> None:
        transport = HttpxTransport(SideBySide(), atransport=httpx.MockTransport(service.slow))
        client = httpx.AsyncClient(transport=transport)
        async with client, client.stream("GET", "http://shop.test") as answer:
            assert service.open == 1
            assert await answer.aread() == b"tea"
        assert service.open == 0

    world.run(main())
    assert len(service.asked) == 2


def test_the_loser_of_a_hedge_is_let_go(world: VirtualRuntime) -> None:
    service = Service()

    async def main() -> httpx.Response:
        hedge = Hedge("600ms", budget=None)
        transport = HttpxTransport(hedge, atransport=httpx.MockTransport(service.slow))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get("http://shop.test")

    assert world.run(main()).text == "tea"
    assert world.now() == 1.0
    assert service.open == 0


def test_both_transports_are_made_when_needed_and_closed(world: VirtualRuntime) -> None:
    class Inner(httpx.MockTransport):
        closed = 0

        def close(self) -> None:
            self.closed += 1

        async def aclose(self) -> None:
            self.closed += 1

    sync, both = Inner(Service()), Inner(Service())
    transport = HttpxTransport(Stack(), sync, atransport=both)

    async def main() -> None:
        with httpx.Client(transport=transport):
            pass
        async with httpx.AsyncClient(transport=transport):
            pass
        await HttpxTransport(Stack()).aclose()
        HttpxTransport(Stack()).close()

    world.run(main())
    assert (sync.closed, both.closed) == (1, 1)

"""The gRPC server's interceptor in real servers of both colours."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import grpc
import pytest
from tests.adapters.tea_service import Code, Tea, serving_tea, serving_tea_async

from escala.adapters import GrpcClientInterceptor, GrpcServerInterceptor
from escala.adapters.grpc_request import GrpcRequest
from escala.errors import CircuitOpen, ConfigError
from escala.kernel.context import current_request
from escala.kernel.policy import Next, Policy, T
from escala.kernel.runtime import Runtime
from escala.kernel.stack import Stack
from escala.limiting import TokenBucket
from escala.resilience import Bulkhead, Deadline, Retry

pytestmark = pytest.mark.live


class Outcomes(Policy):
    """Counts the calls that failed."""

    def __init__(self) -> None:
        self.failed = 0

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        try:
            return await call()
        except Exception:
            self.failed += 1
            raise


@contextmanager
def asyncio_server(*interceptors: Any, sync_handlers: bool = False) -> Iterator[Tea]:
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    ready: list[Tea] = []

    async def main() -> None:
        async with serving_tea_async(*interceptors, sync_handlers=sync_handlers) as tea:
            ready.append(tea)
            await stop.wait()

    thread = Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    until(lambda: bool(ready))
    try:
        yield ready[0]
    finally:
        ready[0].go_on.set()
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@contextmanager
def asyncio_server_of_functions(*interceptors: Any) -> Iterator[Tea]:
    with asyncio_server(*interceptors, sync_handlers=True) as tea:
        yield tea


every_server = pytest.mark.parametrize(
    "server",
    [serving_tea, asyncio_server, asyncio_server_of_functions],
    ids=["sync", "async", "async-server-sync-handlers"],
)


def calls(channel: Any) -> dict[str, Callable[[], Any]]:
    return {
        "Brew": lambda: channel.unary_unary("/shop.Tea/Brew")(b"mint", timeout=5),
        "Pour": lambda: list(channel.unary_stream("/shop.Tea/Pour")(b"mint", timeout=5)),
        "Fill": lambda: channel.stream_unary("/shop.Tea/Fill")(iter([b"a", b"b"]), timeout=5),
        "Chat": lambda: list(channel.stream_stream("/shop.Tea/Chat")(iter([b"a"]), timeout=5)),
    }


ANSWERS = {
    "Brew": b"cup of mint", "Pour": [b"drop of mint"] * 3, "Fill": b"cup of ab", "Chat": [b"and a"],
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", list(ANSWERS))


@every_server
@every_kind
def test_a_rate_limit(server: Any, kind: str) -> None:
    limiter = TokenBucket("1/h", key="client_ip", name="shop")
    with server(GrpcServerInterceptor(limiter)) as tea, channel_to(tea) as channel:
        assert calls(channel)[kind]() == ANSWERS[kind]
        with pytest.raises(grpc.RpcError) as caught:
            calls(channel)[kind]()
        assert caught.value.code() is Code.RESOURCE_EXHAUSTED
        assert "shop: the limit of 1/h is used up" in caught.value.details()
        trailers = dict(caught.value.trailing_metadata())
        assert 3_590_000 <= int(trailers["grpc-retry-pushback-ms"]) <= 3_600_000
        assert len(tea.asked) == 1
        assert limiter.peek("127.0.0.1").remaining == 0


@every_server
@every_kind
def test_the_priority_of_a_call_is_known_to_its_policies(server: Any, kind: str) -> None:
    seen: list[int] = []

    class Seen(Outcomes):
        async def around(self, call: Next[T], runtime: Runtime) -> T:
            request = current_request()
            assert request is not None
            seen.append(request.priority)
            return await call()

    def matters(call: GrpcRequest) -> int:
        return 7 if (call.get("client_ip"), call.key) == ("127.0.0.1", "shop.Tea") else 0

    interceptor = GrpcServerInterceptor(Seen(), priority=matters)
    with server(interceptor) as tea, channel_to(tea) as channel:
        assert calls(channel)[kind]() == ANSWERS[kind]
    assert seen == [7]


@every_server
@every_kind
def test_a_slot_is_held_until_the_last_message(server: Any, kind: str) -> None:
    bulkhead = Bulkhead(1)
    with server(GrpcServerInterceptor(bulkhead)) as tea, channel_to(tea) as channel:
        tea.script.append("hang")
        thread = Thread(target=calls(channel)[kind])
        thread.start()
        until(lambda: len(tea.asked) == 1)
        with pytest.raises(grpc.RpcError) as caught:
            calls(channel)[kind]()
        assert caught.value.code() is Code.UNAVAILABLE
        assert caught.value.details() == "bulkhead: the only slot is taken"
        assert "grpc-retry-pushback-ms" not in dict(caught.value.trailing_metadata())
        tea.go_on.set()
        thread.join(5)
        until(lambda: bulkhead.free == 1)
        assert calls(channel)[kind]() == ANSWERS[kind]


# Not the third kind: there gRPC itself leaves a plain generator standing when its client goes.
@pytest.mark.parametrize("server", [serving_tea, asyncio_server], ids=["sync", "async"])
def test_a_client_that_goes_away_gives_its_slot_back(server: Any) -> None:
    bulkhead = Bulkhead(1)
    with server(GrpcServerInterceptor(bulkhead)) as tea, channel_to(tea) as channel:
        tea.script.append("hang")
        stream = channel.unary_stream("/shop.Tea/Pour")(b"mint")
        next(stream)
        stream.cancel()
        tea.go_on.set()
        until(lambda: bulkhead.free == 1)


@every_server
def test_the_client_s_deadline_is_known_inside(server: Any) -> None:
    with server(GrpcServerInterceptor(Stack(), deadline="2s")) as tea, channel_to(tea) as channel:
        brew = channel.unary_unary("/shop.Tea/Brew")
        brew(b"mint")
        brew(b"mint", timeout=1)
        brew(b"mint", timeout=9)
    none, short, long = tea.left
    assert 1 < none <= 2
    assert 0 < short <= 1.1, "gRPC itself rounds a deadline up a little"
    assert 1 < long <= 2


@every_server
def test_without_any_deadline_there_is_none(server: Any) -> None:
    with server(GrpcServerInterceptor(Stack())) as tea, channel_to(tea) as channel:
        channel.unary_unary("/shop.Tea/Brew")(b"mint")
    assert tea.left == [math.inf]


@every_server
def test_the_call_is_known_inside(server: Any) -> None:
    with server(GrpcServerInterceptor(Stack())) as tea, channel_to(tea) as channel:
        channel.unary_unary("/shop.Tea/Brew")(b"mint", metadata=(("x-tea", "green"),))
    (request,) = tea.requests
    assert request.key == "shop.Tea"
    names = ["method", "client_ip", "header:X-Tea", "header:none", "tenant"]
    expected = ["/shop.Tea/Brew", "127.0.0.1", "green", None, None]
    assert [request.get(name) for name in names] == expected


@every_server
@every_kind
def test_refusals_inside_are_told(server: Any, kind: str) -> None:
    with server(GrpcServerInterceptor(Stack())) as tea, channel_to(tea) as channel:
        tea.script.append(CircuitOpen("bank", "the circuit is open", 1.5))
        with pytest.raises(grpc.RpcError) as caught:
            calls(channel)[kind]()
        assert caught.value.code() is Code.UNAVAILABLE
        assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"


@every_server
@every_kind
def test_the_handler_s_own_status_passes(server: Any, kind: str) -> None:
    with server(GrpcServerInterceptor(Bulkhead(1))) as tea, channel_to(tea) as channel:
        tea.script.append(Code.NOT_FOUND)
        with pytest.raises(grpc.RpcError) as caught:
            calls(channel)[kind]()
        assert caught.value.code() is Code.NOT_FOUND


@every_server
@pytest.mark.parametrize("script", [Code.NOT_FOUND, CircuitOpen("bank", "the circuit is open")])
def test_a_status_waits_for_a_message_on_its_way(server: Any, script: Any) -> None:
    leaf = b"leaf " * 400_000
    with server(GrpcServerInterceptor(Bulkhead(1))) as tea, channel_to(tea) as channel:
        tea.script.append(script)
        stream = channel.stream_stream("/shop.Tea/Chat")(iter([leaf]), timeout=5)
        assert next(stream) == b"and " + leaf
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is (
            Code.NOT_FOUND if script is Code.NOT_FOUND else Code.UNAVAILABLE
        )


@every_server
def test_the_statuses_of_two_interceptors_are_one(server: Any) -> None:
    outer, inner = Outcomes(), Outcomes()
    both = GrpcServerInterceptor(outer), GrpcServerInterceptor(inner)
    with server(*both) as tea, channel_to(tea) as channel:
        tea.script.append(Code.NOT_FOUND)
        with pytest.raises(grpc.RpcError) as caught:
            calls(channel)["Pour"]()
        assert caught.value.code() is Code.NOT_FOUND
        until(lambda: [outer.failed, inner.failed] == [1, 1])


def test_a_client_that_is_gone_before_its_thread_begins_crashes_nothing() -> None:
    outcomes = Outcomes()
    interceptor = GrpcServerInterceptor(Stack(outcomes, TokenBucket("4/h", key="client_ip")))
    with asyncio_server_of_functions(interceptor) as tea, channel_to(tea) as channel:
        tea.script.extend(["hang"] * 4)  # as many as there are threads
        pour = channel.unary_stream("/shop.Tea/Pour")
        busy = [pour(b"mint") for _ in range(4)]
        until(lambda: len(tea.asked) == 4)
        late = pour(b"mint")
        time.sleep(0.2)  # it waits for a thread
        late.cancel()
        time.sleep(0.2)  # gRPC has let go of it
        tea.go_on.set()
        assert [list(each) for each in busy] == [[b"drop of mint"] * 3] * 4
        until(lambda: outcomes.failed == 1)


def test_a_deadline_ends_a_task() -> None:
    interceptor = GrpcServerInterceptor(Deadline("200ms"))
    with asyncio_server(interceptor) as tea, channel_to(tea) as channel:
        tea.script.append("hang")
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/shop.Tea/Brew")(b"mint")
        assert caught.value.code() is Code.DEADLINE_EXCEEDED
        assert "deadline: the call with all its attempts" in caught.value.details()
        assert time.monotonic() - began < 1.5


@every_server
def test_our_client_waits_as_long_as_our_server_says(server: Any) -> None:
    limiter = TokenBucket("3/s", burst=1)
    with server(GrpcServerInterceptor(limiter)) as tea, channel_to(tea) as channel:
        patient = GrpcClientInterceptor(Retry(base=0, budget=None), idempotent=lambda _: True)
        brew = grpc.intercept_channel(channel, patient).unary_unary("/shop.Tea/Brew")
        assert [brew(b"mint") for _ in range(3)] == [b"cup of mint"] * 3


@every_server
def test_a_method_that_no_one_serves(server: Any) -> None:
    with server(GrpcServerInterceptor(Bulkhead(1))) as tea, channel_to(tea) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/shop.Tea/Drink")(b"mint")
        assert caught.value.code() is Code.UNIMPLEMENTED


def test_policies_that_repeat_are_refused() -> None:
    with pytest.raises(ConfigError, match="GrpcServerInterceptor: Retry may run its call again"):
        GrpcServerInterceptor(Stack(Bulkhead(1), Retry()))


def channel_to(tea: Tea) -> Any:
    return grpc.insecure_channel(tea.target)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

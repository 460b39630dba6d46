"""The gRPC clients' interceptors against a real server that fails on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.adapters.callers import in_loop
from tests.adapters.tea_service import Code, Tea, serving_tea

from escala.adapters import GrpcClientInterceptor, agrpc_interceptors
from escala.errors import BulkheadFull, CircuitOpen, DeadlineExceeded
from escala.kernel.policy import Policy
from escala.kernel.stack import Stack
from escala.resilience import Bulkhead, CircuitBreaker, Deadline, Retry, Timeout, standard

pytestmark = pytest.mark.live


@pytest.fixture
def tea() -> Iterator[Tea]:
    with serving_tea() as served:
        yield served


def quick(attempts: int = 3, **more: Any) -> Retry:
    return Retry(attempts, base=0.01, cap=0.02, budget=None, **more)


def every(method: str) -> bool:
    return True


def sync_brew(tea: Tea, policy: Policy, idempotent: Any, timeout: float | None = 5) -> bytes:
    with grpc.insecure_channel(tea.target) as channel:
        interceptor = GrpcClientInterceptor(policy, idempotent=idempotent)
        brew = grpc.intercept_channel(channel, interceptor).unary_unary("/shop.Tea/Brew")
        return brew(b"mint", timeout=timeout)


def async_brew(tea: Tea, policy: Policy, idempotent: Any, timeout: float | None = 5) -> bytes:
    async def main() -> bytes:
        interceptors = agrpc_interceptors(policy, idempotent=idempotent)
        async with grpc.aio.insecure_channel(tea.target, interceptors=interceptors) as channel:
            return await channel.unary_unary("/shop.Tea/Brew")(b"mint", timeout=timeout)

    return asyncio.run(main())


Brew = Callable[..., bytes]
both_colours = pytest.mark.parametrize("brew", [sync_brew, async_brew], ids=["sync", "async"])


@both_colours
def test_what_fails_by_chance_is_repeated_if_it_may_be(tea: Tea, brew: Brew) -> None:
    tea.script.extend([Code.UNAVAILABLE, Code.INTERNAL])
    assert brew(tea, quick(), every) == b"cup of mint"
    assert tea.asked == [b"mint"] * 3


@both_colours
def test_what_the_marks_do_not_speak_of_is_not_repeated(tea: Tea, brew: Brew) -> None:
    tea.script.append(Code.UNAVAILABLE)
    with pytest.raises(grpc.RpcError):
        brew(tea, quick(), {"/shop.Tea/Price": True}.get)
    assert len(tea.asked) == 1


@both_colours
def test_nothing_is_repeated_unless_it_is_marked(tea: Tea, brew: Brew) -> None:
    tea.script.append(Code.UNAVAILABLE)
    with pytest.raises(grpc.RpcError) as caught:
        brew(tea, quick(), lambda method: method == "/shop.Tea/Price")
    assert caught.value.code() is Code.UNAVAILABLE
    assert len(tea.asked) == 1


@both_colours
def test_the_last_error_is_grpc_s_own_with_a_note(tea: Tea, brew: Brew) -> None:
    tea.script.extend([Code.UNAVAILABLE, Code.UNAVAILABLE, Code.DATA_LOSS])
    with pytest.raises(grpc.RpcError) as caught:
        brew(tea, quick(), every)
    assert caught.value.code() is Code.DATA_LOSS
    assert caught.value.details() == "as asked"
    assert any("3 attempts" in note for note in caught.value.__notes__)
    assert len(tea.asked) == 3


@both_colours
@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ABORTED])
def test_an_answer_about_the_request_is_no_failure(tea: Tea, brew: Brew, code: Any) -> None:
    breaker = CircuitBreaker(minimum_calls=1)
    tea.script.append(code)
    with pytest.raises(grpc.RpcError) as caught:
        brew(tea, Stack(quick(), breaker), every)
    assert caught.value.code() is code
    assert len(tea.asked) == 1
    assert breaker.state.value == "closed"


@both_colours
def test_the_breaker_opens_and_refuses(tea: Tea, brew: Brew) -> None:
    tea.script.extend([Code.UNAVAILABLE] * 9)
    breaker = CircuitBreaker(minimum_calls=2, statuses=["UNAVAILABLE"])
    with pytest.raises(CircuitOpen):
        brew(tea, Stack(quick(9), breaker), every)
    assert len(tea.asked) == 2


@both_colours
def test_pushback_is_obeyed(tea: Tea, brew: Brew) -> None:
    tea.script.append((Code.RESOURCE_EXHAUSTED, (("grpc-retry-pushback-ms", "400"),)))
    began = time.monotonic()
    assert brew(tea, quick(), every) == b"cup of mint"
    assert 0.4 <= time.monotonic() - began < 2


@both_colours
def test_pushback_may_forbid_more_tries(tea: Tea, brew: Brew) -> None:
    tea.script.append((Code.UNAVAILABLE, (("grpc-retry-pushback-ms", "-1"),)))
    with pytest.raises(grpc.RpcError):
        brew(tea, quick(), every)
    assert len(tea.asked) == 1


@both_colours
def test_the_deadline_bounds_a_service_that_hangs(tea: Tea, brew: Brew) -> None:
    tea.script.extend(["hang"] * 3)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="deadline: the call with all its attempts"):
        brew(tea, Stack(Deadline("300ms"), quick()), every)
    assert time.monotonic() - began < 1.5


@both_colours
def test_a_slow_attempt_is_given_up_and_repeated(tea: Tea, brew: Brew) -> None:
    tea.script.append("hang")
    assert brew(tea, Stack(quick(), Timeout("300ms")), every) == b"cup of mint"


@both_colours
def test_a_timeout_of_the_caller_is_grpc_s_own_error(tea: Tea, brew: Brew) -> None:
    tea.script.append("hang")
    with pytest.raises(grpc.RpcError) as caught:
        brew(tea, Stack(Deadline("5s")), every, 0.2)
    assert caught.value.code() is Code.DEADLINE_EXCEEDED


@both_colours
def test_the_standard_stack_does_all_of_it(tea: Tea, brew: Brew) -> None:
    tea.script.extend([Code.UNAVAILABLE, Code.UNKNOWN])
    assert brew(tea, standard(), every, None) == b"cup of mint"


def test_a_future_is_under_the_policy_too(tea: Tea) -> None:
    tea.script.extend([Code.UNAVAILABLE] * 4)
    with grpc.insecure_channel(tea.target) as channel:
        guarded = grpc.intercept_channel(channel, GrpcClientInterceptor(quick(), idempotent=every))
        brew = guarded.unary_unary("/shop.Tea/Brew")
        assert brew.future(b"mint").code() is Code.UNAVAILABLE
        assert brew.future(b"mint").result() == b"cup of mint"
    assert len(tea.asked) == 5


def test_requests_that_are_a_stream_are_sent_once(tea: Tea) -> None:
    tea.script.append(Code.UNAVAILABLE)
    with grpc.insecure_channel(tea.target) as channel:
        interceptor = GrpcClientInterceptor(quick(unsafe=True), idempotent=every)
        fill = grpc.intercept_channel(channel, interceptor).stream_unary("/shop.Tea/Fill")
        with pytest.raises(grpc.RpcError):
            fill(iter([b"a", b"b"]))
        assert fill(iter([b"a", b"b"])) == b"cup of ab"
    assert tea.asked == [b"ab", b"ab"]


@pytest.mark.parametrize("kind", ["Pour", "Chat"])
def test_a_stream_holds_its_slot_until_it_ends(tea: Tea, kind: str) -> None:
    bulkhead, breaker = Bulkhead(1), CircuitBreaker(minimum_calls=1)
    policy = Stack(Deadline("5s"), quick(), breaker, bulkhead)
    tea.script.extend(["hang", Code.UNAVAILABLE])
    with grpc.insecure_channel(tea.target) as channel:
        guarded = grpc.intercept_channel(channel, GrpcClientInterceptor(policy))
        if kind == "Pour":
            call = guarded.unary_stream("/shop.Tea/Pour")
        else:
            chat = guarded.stream_stream("/shop.Tea/Chat")

            def call(request: bytes) -> Any:
                return chat(iter([request] * 3))

        first = call(b"mint")
        assert len([next(first) for _ in range(3)]) == 3
        assert bulkhead.free == 0
        with pytest.raises(BulkheadFull):
            next(call(b"mint"))
        tea.go_on.set()
        assert list(first) == []
        until(lambda: bulkhead.free == 1)
        assert breaker.state.value == "closed"
        with pytest.raises(grpc.RpcError):
            list(call(b"mint"))
        until(lambda: breaker.state.value == "open")
        with pytest.raises(CircuitOpen):
            list(call(b"mint"))
        assert bulkhead.free == 1


def test_a_cancelled_stream_says_nothing_about_the_service(tea: Tea) -> None:
    bulkhead, breaker = Bulkhead(1), CircuitBreaker(minimum_calls=1)
    tea.script.append("hang")
    with grpc.insecure_channel(tea.target) as channel:
        interceptor = GrpcClientInterceptor(Stack(breaker, bulkhead))
        pour = grpc.intercept_channel(channel, interceptor).unary_stream("/shop.Tea/Pour")
        stream = pour(b"mint")
        next(stream)
        stream.cancel()
        until(lambda: bulkhead.free == 1)
    assert breaker.state.value == "closed"


def test_a_stream_ends_at_the_deadline(tea: Tea) -> None:
    bulkhead = Bulkhead(1)
    tea.script.append("hang")
    with grpc.insecure_channel(tea.target) as channel:
        interceptor = GrpcClientInterceptor(Stack(Deadline("300ms"), bulkhead))
        pour = grpc.intercept_channel(channel, interceptor).unary_stream("/shop.Tea/Pour")
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            list(pour(b"mint"))
        assert caught.value.code() is Code.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 1.5
        until(lambda: bulkhead.free == 1)


async def messages(*each: bytes) -> AsyncIterator[bytes]:
    for message in each:
        yield message


@pytest.mark.parametrize("kind", ["Pour", "Chat", "Fill"])
@in_loop
async def test_an_async_stream_holds_its_slot_until_it_ends(kind: str) -> None:
    with serving_tea() as tea:
        bulkhead, breaker = Bulkhead(1), CircuitBreaker(minimum_calls=1)
        policy = Stack(Deadline("5s"), quick(), breaker, bulkhead)
        tea.script.extend(["hang", Code.UNAVAILABLE])
        interceptors = agrpc_interceptors(policy)
        async with grpc.aio.insecure_channel(tea.target, interceptors=interceptors) as channel:
            calls: dict[str, Callable[[], Any]] = {
                "Pour": lambda: channel.unary_stream("/shop.Tea/Pour")(b"mint"),
                "Chat": lambda: channel.stream_stream("/shop.Tea/Chat")(messages(b"a", b"b", b"c")),
                "Fill": lambda: channel.stream_unary("/shop.Tea/Fill")(messages(b"a", b"b")),
            }

            async def whole(call: Any) -> Any:
                return await call if kind == "Fill" else [each async for each in call]

            first = asyncio.create_task(whole(calls[kind]()))
            await auntil(lambda: len(tea.asked) == 1)
            assert bulkhead.free == 0
            with pytest.raises(BulkheadFull):
                await whole(calls[kind]())
            tea.go_on.set()
            assert await first in (
                b"cup of ab",
                [b"drop of mint"] * 3,
                [b"and a", b"and b", b"and c"],
            )
            await auntil(lambda: bulkhead.free == 1)
            assert breaker.state.value == "closed"
            with pytest.raises(grpc.RpcError) as caught:
                await whole(calls[kind]())
            assert caught.value.code() is Code.UNAVAILABLE
            await auntil(lambda: breaker.state.value == "open")
            with pytest.raises(CircuitOpen):
                await whole(calls[kind]())
            assert bulkhead.free == 1


@in_loop
async def test_messages_may_be_written_one_by_one() -> None:
    with serving_tea() as tea:
        interceptors = agrpc_interceptors(standard())
        async with grpc.aio.insecure_channel(tea.target, interceptors=interceptors) as channel:
            fill = channel.stream_unary("/shop.Tea/Fill")()
            await fill.write(b"a")
            await fill.write(b"b")
            await fill.done_writing()
            assert await fill == b"cup of ab"


@in_loop
async def test_an_async_stream_ends_at_the_deadline_with_grpc_s_own_status() -> None:
    with serving_tea() as tea:
        bulkhead = Bulkhead(1)
        tea.script.append("hang")
        interceptors = agrpc_interceptors(Stack(Deadline("300ms"), bulkhead))
        async with grpc.aio.insecure_channel(tea.target, interceptors=interceptors) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                [each async for each in channel.unary_stream("/shop.Tea/Pour")(b"mint")]
            assert caught.value.code() is Code.DEADLINE_EXCEEDED
            await auntil(lambda: bulkhead.free == 1)


@in_loop
async def test_a_cancelled_async_stream_says_nothing_about_the_service() -> None:
    with serving_tea() as tea:
        bulkhead, breaker = Bulkhead(1), CircuitBreaker(minimum_calls=1)
        tea.script.append("hang")
        interceptors = agrpc_interceptors(Stack(breaker, bulkhead))
        async with grpc.aio.insecure_channel(tea.target, interceptors=interceptors) as channel:
            call = channel.unary_stream("/shop.Tea/Pour")(b"mint")
            await call.read()
            assert bulkhead.free == 0
            call.cancel()
            await auntil(lambda: bulkhead.free == 1)
        assert breaker.state.value == "closed"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


async def auntil(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  what it waits for tells no one
            await asyncio.sleep(0.01)

"""Policies around the calls of a `grpc.aio` channel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from escala.adapters.failed_attempt import FailedAttempt, as_it_was
from escala.adapters.given_policy import policies
from escala.adapters.grpc_attempt import Details, Marks, guards, marks, none_is, seen
from escala.adapters.grpc_request import GrpcRequest
from escala.kernel.context import serving
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours
from escala.resilience.time_limit import time_is_up


def agrpc_interceptors(policy: Policy, *, idempotent: Marks = none_is) -> list[Any]:
    """Surround each call with a policy: `grpc.aio.insecure_channel(target, interceptors=these)`.

    The twin of `GrpcClientInterceptor` for asyncio, with the same arguments. A call whose
    requests are a stream is surrounded like one whose answers are, since it is open before the
    first of them is written.
    """
    one = _Interceptor(policy, idempotent)
    return [_UnaryUnary(one), _UnaryStream(one), _StreamUnary(one), _StreamStream(one)]


class _Interceptor:
    def __init__(self, policy: Policy, idempotent: Marks) -> None:
        self._policy, self._guards = policy, guards(policies(policy, where="agrpc_interceptors"))
        self._idempotent = marks(idempotent, where="agrpc_interceptors")
        self._streams: set[asyncio.Task[None]] = set()

    async def whole(
        self,
        continuation: Callable[[Any, Any], Awaitable[Any]],
        details: Any,  # noqa: ANN401  grpc's own
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        async def attempt() -> Any:  # noqa: ANN401
            call = await continuation(_details(details), request)
            try:
                await call
            except grpc.aio.AioRpcError as error:
                failure = seen(error, colours.loop.now())
                if failure is not None:
                    raise failure from failure.__cause__
            return call

        with serving(self._known(details, repeatable=True)):
            try:
                return await self._policy.acall(attempt)
            except FailedAttempt as failure:
                error = as_it_was(failure)
        raise error

    async def stream(
        self,
        continuation: Callable[[Any, Any], Awaitable[Any]],
        details: Any,  # noqa: ANN401
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """A task holds the policies until the stream ends; the call goes to its user at once."""
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def held() -> None:
            with serving(self._known(details, repeatable=False)):
                await self._guards.acall(_until_its_end, continuation, details, request, opened)

        task = asyncio.create_task(held())
        self._streams.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task, opened}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if opened.done():
            return opened.result()
        return task.result()  # raises why it was not opened

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._streams.discard(task)
        if not task.cancelled():
            task.exception()  # the stream itself tells its reader

    def _known(self, details: Any, *, repeatable: bool) -> GrpcRequest:  # noqa: ANN401
        known = GrpcRequest(
            details.method, details.metadata, idempotent=False, repeatable=repeatable
        )
        known.idempotent = self._idempotent(known.method)
        return known


async def _until_its_end(
    continuation: Callable[[Any, Any], Awaitable[Any]],
    details: Any,  # noqa: ANN401
    request: Any,  # noqa: ANN401
    opened: asyncio.Future[Any],
) -> None:
    call = await continuation(_details(details), request)
    opened.set_result(call)
    ended = asyncio.Event()
    call.add_done_callback(lambda _: ended.set())
    try:
        await ended.wait()
    except asyncio.CancelledError:
        # gRPC has the same deadline and says DEADLINE_EXCEEDED; a cancelled stream would look
        # to its reader as if the reader itself had been cancelled.
        if not time_is_up(colours.loop.now()):
            call.cancel()
        raise
    code = await call.code()
    if code is grpc.StatusCode.CANCELLED:
        raise asyncio.CancelledError
    if code is not grpc.StatusCode.OK:
        error = grpc.aio.AioRpcError(
            code, await call.initial_metadata(), await call.trailing_metadata()
        )
        failure = seen(error, colours.loop.now())
        if failure is not None:
            raise failure


def _details(given: Any) -> Any:  # noqa: ANN401
    mine = Details(given, colours.loop.now())
    return grpc.aio.ClientCallDetails(
        mine.method, mine.timeout, mine.metadata, mine.credentials, mine.wait_for_ready
    )


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc has no types
    def __init__(self, one: _Interceptor) -> None:
        self.intercept = one.whole

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401
        return await self.intercept(continuation, details, request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    def __init__(self, one: _Interceptor) -> None:
        self.intercept = one.stream

    async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401
        return await self.intercept(continuation, details, request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self, one: _Interceptor) -> None:
        self.intercept = one.stream

    async def intercept_stream_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401
        return await self.intercept(continuation, details, request)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    def __init__(self, one: _Interceptor) -> None:
        self.intercept = one.stream

    async def intercept_stream_stream(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401
        return await self.intercept(continuation, details, request)

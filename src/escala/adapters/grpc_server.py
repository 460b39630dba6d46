"""Policies around every call that a gRPC server answers, `grpc.server` or `grpc.aio.server`."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from typing import Any, TypeAlias

import grpc
import grpc.aio

from escala.adapters.given_policy import policies
from escala.adapters.given_priority import Priority, prioritised
from escala.adapters.grpc_request import GrpcRequest
from escala.adapters.patient_context import PatientContext, ended
from escala.adapters.pure.grpc_words import PUSHBACK, address, pushback
from escala.errors import ConfigError, DeadlineExceeded, RateLimited, Rejected
from escala.kernel.context import current, restore, serving, shorten
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours
from escala.kernel.units import PositiveDuration

Behaviour: TypeAlias = Callable[[Any, Any], Any]

_A_YEAR = 3e7


class GrpcServerInterceptor(grpc.ServerInterceptor, grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Limit what a server is asked: `grpc.server(pool, interceptors=[this])`.

    The same object serves `grpc.server` and `grpc.aio.server`.

    - `policy`: a rate limiter, another policy, or a stack of them; none may repeat calls. They
      surround a call until its answer is complete, the last message of a stream included.
    - `deadline`: the longest that a call may take; a client's own shorter deadline goes before.
      Everything inside knows it through `context.deadline()`.
    - `priority`: how much a call matters to `Shed` and to queues by priority, as a function of
      its request; all alike (0) without.

    A rate limit answers RESOURCE_EXHAUSTED, another refusal UNAVAILABLE, a deadline
    DEADLINE_EXCEEDED; the message says who refused and why, and the trailer
    `grpc-retry-pushback-ms` when to come back, where that is known.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        deadline: float | str | None = None,
        priority: Priority | None = None,
    ) -> None:
        for each in policies(policy, where="GrpcServerInterceptor"):
            if each.repeats:
                raise ConfigError(
                    f"GrpcServerInterceptor: {type(each).__name__} may run its call again, which "
                    "a call that is being served cannot: its requests are read"
                )
        self.policy = policy
        self._prioritise = prioritised(priority, where="GrpcServerInterceptor")
        self._longest = math.inf if deadline is None else float(PositiveDuration(deadline))

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:  # noqa: ANN401  grpc's own
        """Put the policy around the method's handler."""
        handler = continuation(details)
        if inspect.isawaitable(handler):
            return self._later(handler, details)
        return self._around(handler, details)

    async def _later(self, handler: Awaitable[Any], details: Any) -> Any:  # noqa: ANN401
        return self._around(await handler, details, ahead=True)

    def _around(self, handler: Any, details: Any, *, ahead: bool = False) -> Any:  # noqa: ANN401
        if handler is None:
            return None
        arity = "_".join(
            "stream" if streams else "unary"
            for streams in (handler.request_streaming, handler.response_streaming)
        )
        inner: Behaviour = getattr(handler, arity)
        if _is_async(inner):
            outer: Behaviour = functools.partial(self._answer_async, details, inner)
        elif handler.response_streaming:
            outer = functools.partial(self._stream, details, inner, ahead)
        else:
            outer = functools.partial(self._answer, details, inner)
        made = getattr(grpc, f"{arity}_rpc_method_handler")
        return made(
            _like(inner, outer),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _answer(self, details: Any, inner: Behaviour, request: Any, context: Any) -> Any:  # noqa: ANN401
        def run() -> Any:  # noqa: ANN401
            self._enter(self._known(details, context), context)
            return self.policy.call(inner, request, context)

        try:
            return copy_context().run(run)
        except (Rejected, DeadlineExceeded) as error:
            return _refuse(context, error)

    def _stream(
        self,
        details: Any,  # noqa: ANN401
        inner: Behaviour,
        ahead: bool,  # noqa: FBT001  bound by `partial`
        request: Any,  # noqa: ANN401
        context: Any,  # noqa: ANN401
    ) -> Iterator[Any]:
        # Not in the generator: an asyncio server begins that in a thread, perhaps after the client
        # has gone, and gRPC's `peer()` crashes the process then.
        known = self._known(details, context)
        if ahead and not isinstance(context, PatientContext):
            patient = PatientContext(context)
            return ended(self._messages(known, inner, request, patient))
        return self._messages(known, inner, request, context)

    def _messages(
        self,
        known: GrpcRequest,
        inner: Behaviour,
        request: Any,  # noqa: ANN401
        context: Any,  # noqa: ANN401
    ) -> Iterator[Any]:
        inside = copy_context()
        try:
            inside.run(self._enter, known, context)
            inside.run(self.policy.__enter__)
            try:
                messages = inside.run(lambda: iter(inner(request, context)))
                while True:
                    try:
                        message = inside.run(next, messages)
                    except StopIteration:
                        break
                    yield message
            except BaseException as error:
                inside.run(self.policy.__exit__, type(error), error, error.__traceback__)
                raise
            inside.run(self.policy.__exit__, None, None, None)
        except (Rejected, DeadlineExceeded) as error:
            _refuse(context, error)

    async def _answer_async(
        self,
        details: Any,  # noqa: ANN401
        inner: Behaviour,
        request: Any,  # noqa: ANN401
        context: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        async def run() -> Any:  # noqa: ANN401
            if not _yields(inner):
                return await inner(request, context)
            async for message in inner(request, context):
                await context.write(message)
            return None

        before = shorten(self._until(context, colours.loop.now()))
        try:
            with serving(self._known(details, context)):
                return await self.policy.acall(run)
        except (Rejected, DeadlineExceeded) as error:
            return await _refuse(context, error)
        finally:
            restore(before)

    def _enter(self, known: GrpcRequest, context: Any) -> None:  # noqa: ANN401
        current.set(known)
        shorten(self._until(context, colours.thread.now()))

    def _until(self, context: Any, now: float) -> float:  # noqa: ANN401
        left: float | None = context.time_remaining()
        if left is None or left > _A_YEAR:  # gRPC's words for no deadline
            left = math.inf
        return now + min(left, self._longest)

    def _known(self, details: Any, context: Any) -> GrpcRequest:  # noqa: ANN401
        known = GrpcRequest(
            details.method,
            details.invocation_metadata,
            idempotent=False,
            repeatable=False,
            client=address(context.peer()),
        )
        self._prioritise(known)
        return known


def _refuse(context: Any, error: Rejected | DeadlineExceeded) -> Any:  # noqa: ANN401
    """End the call: at once in a thread, by what this returns in a task."""
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    trailers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Rejected):
        code = grpc.StatusCode.UNAVAILABLE
        if isinstance(error, RateLimited):
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
        if error.retry_after is not None:
            trailers = ((PUSHBACK, pushback(error.retry_after)),)
    context.set_trailing_metadata(trailers)
    return context.abort(code, str(error))


def _plain(behaviour: Behaviour) -> Any:  # noqa: ANN401
    while isinstance(behaviour, functools.partial):
        behaviour = behaviour.func
    return behaviour


def _yields(behaviour: Behaviour) -> bool:
    return inspect.isasyncgenfunction(_plain(behaviour))


def _is_async(behaviour: Behaviour) -> bool:
    return _yields(behaviour) or inspect.iscoroutinefunction(_plain(behaviour))


def _like(inner: Behaviour, outer: Behaviour) -> Behaviour:
    """A function of the colour that the server looks for."""
    if _is_async(inner):

        async def acall(request: Any, context: Any) -> Any:  # noqa: ANN401
            return await outer(request, context)

        return acall
    return outer

"""Policies around the calls of a gRPC channel in sync code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import grpc

from escala.adapters.failed_attempt import FailedAttempt, as_it_was
from escala.adapters.given_policy import policies
from escala.adapters.grpc_attempt import Details, Marks, guards, marks, none_is, seen
from escala.adapters.grpc_request import GrpcRequest
from escala.kernel.context import current, serving
from escala.kernel.policy import Policy
from escala.kernel.runtime import colours


class GrpcClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]  # grpc has no types
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Surround each call with a policy: `grpc.intercept_channel(channel, this)`.

    - `policy`: usually a stack, such as `standard()`.
    - `idempotent`: says of a method's name ("/shop.Tea/Price") whether it may run twice; without
      it, nothing is repeated.

    A call with one answer is surrounded until that is here; `future` blocks as long. A call that
    answers with a stream is surrounded until the stream ends, by those policies that never
    repeat: retry and hedging are left out, a bulkhead's slot is held all the while, and a breaker
    learns of the status at the end.

    UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE and DATA_LOSS are
    failures, every other status is an answer. The server's `grpc-retry-pushback-ms` is obeyed.
    The deadline around the call travels as gRPC's own. Raises `grpc.RpcError` as without it,
    `DeadlineExceeded` when the time that Escala gave is up, and `Rejected` when it refuses.
    """

    def __init__(self, policy: Policy, *, idempotent: Marks = none_is) -> None:
        self.policy = policy
        self._guards = guards(policies(policy, where="GrpcClientInterceptor"))
        self._idempotent = marks(idempotent, where="GrpcClientInterceptor")

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401, D102  grpc's own
        return self._whole(continuation, details, request, repeatable=True)

    def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:  # noqa: ANN401, D102
        return self._whole(continuation, details, requests, repeatable=False)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:  # noqa: ANN401, D102
        return self._stream(continuation, details, request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:  # noqa: ANN401, D102
        return self._stream(continuation, details, requests)

    def _whole(
        self,
        continuation: Callable[[Any, Any], Any],
        details: Any,  # noqa: ANN401
        request: Any,  # noqa: ANN401
        *,
        repeatable: bool,
    ) -> Any:  # noqa: ANN401
        begun = 0

        def attempt() -> Any:  # noqa: ANN401
            nonlocal begun
            begun += 1
            if begun > 1 and not repeatable:
                raise RuntimeError("a policy repeats a call whose requests are a stream")
            now = colours.thread.now()
            call = continuation(Details(details, now), request)
            error = call.exception()
            if error is None:
                return call
            failure = (
                seen(call, colours.thread.now()) if isinstance(error, grpc.RpcError) else error
            )
            if failure is None:
                return call
            raise failure

        known = self._known(details, repeatable=repeatable)
        with serving(known):
            try:
                return self.policy.call(attempt)
            except FailedAttempt as failure:
                error = as_it_was(failure)
        if isinstance(error, grpc.Call):
            return error  # as grpc itself does: who asks for the result gets it raised
        raise error

    def _stream(
        self,
        continuation: Callable[[Any, Any], Any],
        details: Any,  # noqa: ANN401
        request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        # A context of its own: what policies set there ends with the stream, in another thread.
        inside = copy_context()

        def opened() -> Any:  # noqa: ANN401
            current.set(self._known(details, repeatable=False))
            self._guards.__enter__()
            try:
                return continuation(Details(details, colours.thread.now()), request)
            except BaseException as error:
                self._guards.__exit__(type(error), error, error.__traceback__)
                raise

        call = inside.run(opened)

        def ended() -> None:
            error: BaseException | None = None
            code = call.code()
            if code is grpc.StatusCode.CANCELLED:
                error = GeneratorExit()  # says nothing about the service
            elif code is not grpc.StatusCode.OK:
                error = seen(call, colours.thread.now())
            with contextlib.suppress(Exception):  # the stream itself tells its reader
                inside.run(self._guards.__exit__, error and type(error), error, None)

        if not call.add_callback(ended):
            ended()
        return call

    def _known(self, details: Any, *, repeatable: bool) -> GrpcRequest:  # noqa: ANN401
        return GrpcRequest(
            details.method,
            details.metadata,
            idempotent=self._idempotent(details.method),
            repeatable=repeatable,
        )

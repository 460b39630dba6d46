"""The context of a plain generator that `grpc.aio.server` runs: a status waits for its messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

import grpc.aio


class PatientContext:
    """gRPC's own context, but `abort()` says the status after all messages, not between them.

    grpc.aio lets a generator run ahead of what it sends. Its own `abort()` then meets a first
    message that is still on its way, both bring the initial metadata, and the status is lost
    (GRPC_CALL_ERROR_TOO_MANY_OPERATIONS): the client waits until its deadline.
    """

    def __init__(self, context: Any) -> None:  # noqa: ANN401  grpc has no types
        self._context = context

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._context, name)

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:  # noqa: ANN401
        """End the handler here, and the call as soon as its messages are sent."""
        self._context.set_code(code)
        if details:
            self._context.set_details(details)
        if trailing_metadata:
            self._context.set_trailing_metadata(trailing_metadata)
        raise grpc.aio.AbortError("Locally aborted.")


def ended(messages: Iterator[Any]) -> Iterator[Any]:
    """All that comes before an `abort()`."""
    with suppress(grpc.aio.AbortError):
        yield from messages

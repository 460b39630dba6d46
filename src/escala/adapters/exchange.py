"""One request with all its attempts: what every HTTP client's adapter does, in both colours."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from escala.adapters.failed_attempt import FailedAnswer, FailedAttempt, as_it_was, failed
from escala.adapters.outgoing_request import OutgoingRequest
from escala.adapters.pure.failed_status import failed_status
from escala.errors import DeadlineExceeded, EscalaError
from escala.kernel.context import deadline, serving
from escala.kernel.policy import Policy
from escala.kernel.runtime import Runtime
from escala.resilience.retry_after_field import retry_after
from escala.resilience.time_limit import time_is_up
from escala.resilience.user_function import Asker, yes_or_no

R = TypeVar("R")
Judge = Callable[[Any], bool]

SMALL = 65_536
"""A failed answer of up to so many bytes is read at once, which gives its connection back."""


def judging(judge: Judge | None, status: Callable[[Any], int], *, where: str) -> Judge:
    """Which answers are failures: as `judge` says, or by their `status` where it says nothing.

    `ConfigError` for a judge that cannot be asked.
    """

    def by_status(answer: Any) -> bool:  # noqa: ANN401  any client's
        return failed_status(status(answer))

    if judge is None:
        return by_status
    return Asker(where, where).asking(judge, "judge", reads=yes_or_no, instead=by_status)


class Client(ABC, Generic[R]):
    """What a client library can do with one request. Sync ones never suspend."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """Its errors that say that the service could not be asked, or did not answer."""
    timeouts: ClassVar[tuple[type[Exception], ...]]
    """Those of its errors that mean that time was up."""

    @abstractmethod
    async def send(self) -> R:
        """One attempt, within the time left until the deadline in force."""

    @abstractmethod
    async def read(self, response: R) -> None:
        """Take a small body whole, so that the connection is free and the body still here."""

    @abstractmethod
    async def close(self, response: R) -> None:
        """Let go of an answer that no one will read."""

    @abstractmethod
    def status(self, response: R) -> int:
        """Its HTTP status."""

    @abstractmethod
    def header(self, response: R, name: str) -> str | None:
        """A header field of it."""


class Exchange(Generic[R]):
    """A policy around one request. What it got and does not return, it closes.

    - A failed answer (`judge`) is an error to the policies and an answer to the caller.
    - An answer dropped for another attempt is closed before that begins, unless attempts run
      side by side; what is left is closed at the end.
    - A body that can be sent only once is sent only once, whatever a policy tries.
    """

    def __init__(
        self,
        policy: Policy,
        request: OutgoingRequest,
        client: Client[R],
        judge: Judge,
        runtime: Runtime,
    ) -> None:
        self._policy, self._request, self._client = policy, request, client
        self._judge, self._runtime = judge, runtime
        self._answers: list[R] = []
        self._dropped: list[R] = []
        self._under_way: list[object] = []  # lists, since attempts may run in several threads
        self._begun = self._over = False

    async def run(self) -> R:
        """The answer, after as many attempts as the policy makes; or the last one's error."""
        kept: Any = None
        error: Exception | None = None
        try:
            with serving(self._request):
                try:
                    kept = await self._policy.around(self._attempt, self._runtime)
                except FailedAnswer as failure:
                    kept = failure.response
                except FailedAttempt as seen:
                    error = as_it_was(seen)
            if error is None:
                return kept  # type: ignore[no-any-return]
            raise error  # here, where nothing else is being handled that it would point to
        finally:
            self._over = True
            for answer in [*self._answers]:
                if answer is not kept:
                    await self._close(answer)

    async def _attempt(self) -> R:
        if self._begun and not self._request.repeatable:
            raise RuntimeError(
                "a policy repeats a request whose body can be sent only once; give the client "
                "bytes instead of a stream, or use a policy that asks `request.repeatable`"
            )
        self._begun = True
        if not self._under_way:
            while self._dropped:
                await self._close(self._dropped.pop())
        mine = object()
        self._under_way.append(mine)
        try:
            answer = await self._send()
            self._answers.append(answer)
            if self._over:  # the loser of a race between threads, which nothing could stop
                await self._close(answer)
            if not self._judge(answer):
                return answer
            self._dropped.append(answer)
            await self._client.read(answer)
        except EscalaError:
            raise
        except self._client.failures as error:
            if isinstance(error, self._client.timeouts) and time_is_up(self._runtime.now()):
                raise DeadlineExceeded(
                    f"{self._request.key} did not answer before the deadline; "
                    "give the call more time, or find what makes it slow"
                ) from error
            raise failed(error) from error.__cause__
        finally:
            self._under_way.remove(mine)
        raise FailedAnswer(answer, self._client.status(answer), self._hint(answer))

    async def _send(self) -> R:
        until = deadline()
        if until == math.inf:
            return await self._client.send()
        return await self._runtime.race(self._client.send, until)

    def _hint(self, answer: R) -> float | None:
        return retry_after(self._client.header(answer, "Retry-After"))

    async def _close(self, answer: R) -> None:
        try:
            self._answers.remove(answer)
        except ValueError:
            return  # another thread closes it
        await self._client.close(answer)

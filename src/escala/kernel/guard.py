"""A policy that only acts before its call and after it: its steps are plain, the rest is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any, Generic, TypeVar

from escala.kernel.policy import Next, Packed, Policy, refuse_unawaited
from escala.kernel.runtime import Runtime, colours, drive

T = TypeVar("T")
Permit = TypeVar("Permit")


F = TypeVar("F", bound=Callable[..., Any])


def in_steps(around: F) -> F:
    """Mark an `around` that takes a guard's steps."""
    around.in_steps = True  # type: ignore[attr-defined]
    return around


class Guard(Policy, Generic[Permit]):
    """Something that lets a call in and learns how it ended. Write three steps; the rest is given.

    `enter` once before the call, then `passed` or `failed` once after it. They are plain methods
    that never wait, so a function under a guard runs without a coroutine in between: half the
    cost. Nothing is lost by it: `around` is made of the same steps.

    A subclass may write its own `around` instead, for all its uses or, in `__init__`, for some;
    the steps are then not taken. `in_steps` marks one that takes the steps and does more, which
    sync code does not need.
    """

    @abstractmethod
    def enter(self, runtime: Runtime) -> Permit | Coroutine[Any, Any, Permit]:
        """Let a call in, or raise. Returns what `passed` or `failed` is told.

        A coroutine, if the call has to wait: it is awaited at once, and returns the permit.
        """

    @abstractmethod
    def passed(self, permit: Permit, answer: object, runtime: Runtime) -> None:
        """The call has returned. What is raised here is raised instead."""

    @abstractmethod
    def failed(self, permit: Permit, error: BaseException, runtime: Runtime) -> None:
        """The call has raised, or was cancelled; so will it be, if nothing is raised here."""

    @in_steps
    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Take the steps around one call."""
        permit: Any = self.enter(runtime)
        if type(permit) is CoroutineType:
            permit = await permit
        try:
            answer = await call()
        except BaseException as error:
            self.failed(permit, error, runtime)
            raise
        self.passed(permit, answer, runtime)
        return answer

    # The same steps, in the same order, without the coroutines. A call from one of these to
    # another would cost as much as the steps do.

    def within_sync(self, call: Packed) -> Packed:
        """`call` with the steps around it, in the caller's thread."""
        if not self._in_steps:
            return super().within_sync(call)
        enter, passed, failed = self.enter, self.passed, self.failed

        def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
            runtime = colours.thread
            permit: Any = enter(runtime)
            if type(permit) is CoroutineType:
                permit = drive(permit)
            try:
                answer = call(args, kwargs)
            except BaseException as error:
                failed(permit, error, runtime)
                raise
            passed(permit, answer, runtime)
            return answer

        return guarded

    @property
    def driven(self) -> bool:
        """Only where the steps are not taken."""
        return type(self).within_sync is Guard.within_sync and not self._in_steps

    def within_async(self, call: Packed) -> Packed:
        """`call` with the steps around it, on an event loop."""
        if not self._all_in_steps:
            return super().within_async(call)
        enter, passed, failed = self.enter, self.passed, self.failed

        async def guarded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
            runtime = colours.loop
            permit: Any = enter(runtime)
            if type(permit) is CoroutineType:
                permit = await permit
            try:
                answer = await call(args, kwargs)
            except BaseException as error:
                failed(permit, error, runtime)
                raise
            passed(permit, answer, runtime)
            return answer

        return guarded

    def _decorated_sync(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        if not self._in_steps:
            return super()._decorated_sync(fn)
        enter, passed, failed = self.enter, self.passed, self.failed

        def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            runtime = colours.thread
            permit: Any = enter(runtime)
            if type(permit) is CoroutineType:
                permit = drive(permit)
            try:
                answer = fn(*args, **kwargs)
            except BaseException as error:
                failed(permit, error, runtime)
                raise
            passed(permit, answer, runtime)
            if type(answer) is CoroutineType:
                refuse_unawaited(fn, answer)
            return answer

        return guarded

    def _decorated_async(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        if not self._all_in_steps:
            return super()._decorated_async(fn)
        enter, passed, failed = self.enter, self.passed, self.failed

        async def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            runtime = colours.loop
            permit: Any = enter(runtime)
            if type(permit) is CoroutineType:
                permit = await permit
            try:
                answer = await fn(*args, **kwargs)
            except BaseException as error:
                failed(permit, error, runtime)
                raise
            passed(permit, answer, runtime)
            return answer

        return guarded

    @property
    def _in_steps(self) -> bool:
        return getattr(self.around, "in_steps", False)

    @property
    def _all_in_steps(self) -> bool:
        return getattr(self.around, "__func__", None) is Guard.around

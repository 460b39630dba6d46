"""Answer something useful when the call cannot: a value, a function, or what it said last."""

from __future__ import annotations

import inspect
import reprlib
import threading
from collections.abc import Callable, Hashable
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec

from escala.errors import ConfigError, Rejected, Unavailable, WouldBlock
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.config import options
from escala.kernel.events import publish
from escala.kernel.policy import Next, Policy
from escala.kernel.runtime import Runtime, ThreadRuntime
from escala.kernel.units import PositiveDuration
from escala.resilience.call_key import Grouping, call_key
from escala.resilience.events import FellBack
from escala.resilience.failure_kinds import Failures, failures, matches
from escala.resilience.pure.last_good import LastGood
from escala.resilience.spelling import spelled
from escala.resilience.user_function import Asker, check

T = TypeVar("T")

_NO_ANSWER = (Rejected, Unavailable, TimeoutError, ConnectionError)


class _NoValue:
    def __repr__(self) -> str:
        return "no value"


_NO_VALUE = _NoValue()


class _Spelled:
    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return reprlib.repr(self._value)  # it may be large


class Fallback(Policy):
    """Give a lesser answer instead of an error: degrade rather than fail.

    Say where it comes from. With `last_good` and one of the others, that one is for a key that
    has no last value.

    - `value`: always the same. It is shared by all calls, so better not one that changes.
    - `function`: what `function(failure)` returns, sync or async; `failure` is the error, or the
      value that was judged to be one. In sync code it must be a sync function.
    - `last_good`: what the last successful call with the same key returned, if that is no longer
      ago than this. Values are kept in memory as they are: not for streams, and not for what
      callers change.
    - `key`: which calls share a last value: a name such as "key" or "tenant" in the request that
      is being served, or a function of it (`lambda request: "all"` for one that all share). For a
      call without a key nothing is kept.
    - `max_keys`: for how many keys a value is kept; the oldest makes room.
    - `on`: for which errors it answers: a class, a tuple of them, or a function of the error. The
      default is those of a dependency that gives no answer: `Rejected` (an open circuit, a full
      bulkhead), `Unavailable`, `TimeoutError` (so also a deadline) and `ConnectionError`.
    - `judge`: says of a returned value whether it is a failure.

    A `with` block has no value to replace: its error is swallowed, and the program goes on behind
    it. Never hides a cancellation, nor `WouldBlock`, which is a mistake in the code. An error in
    `function` is raised in place of the first. `FellBack` events tell of each answer. In
    `stack.yaml` a `fallback` is a fixed answer, and the `cache` has the last good one.

    >>> prices = Fallback(value=[])
    >>> @prices
    ... def fetch() -> list[int]:
    ...     raise ConnectionError
    >>> fetch()
    []
    """

    kind: ClassVar[str] = "fallback"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How long a value is good for, and for how many keys."""

        last_good: PositiveDuration | None = None
        """How old the last value may be."""
        key: Annotated[str, msgspec.Meta(min_length=1)] | None = None
        """Which calls share a last value, such as "tenant"."""
        max_keys: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
        """For how many keys a value is kept."""

    def __init__(
        self,
        *,
        value: Any = _NO_VALUE,  # noqa: ANN401  whatever the call may return
        function: Callable[[Any], Any] | None = None,
        last_good: float | str | None = None,
        key: str | Grouping | None = None,
        max_keys: int = 1000,
        on: Failures = _NO_ANSWER,
        judge: Callable[[Any], bool] | None = None,
        name: str = "fallback",
    ) -> None:
        if callable(key):
            check(key, "key", where="Fallback")
        self.name = name
        given = {
            "last_good": last_good,
            "key": None if callable(key) else key,
            "max_keys": max_keys,
        }
        self.options = options(self.Options, given, where="Fallback")
        self._value, self._function, self._key = value, function, key
        asker = Asker("Fallback", name)
        self._on = failures(on, default=_NO_ANSWER, asker=asker)
        self._caught = self._on if isinstance(self._on, tuple) else (Exception,)
        self._judge = asker.judge(judge)
        self._check()
        self._lock = threading.RLock()
        self._kept: LastGood[Any] | None = None
        self._begin()
        begin_anew(self, Fallback._forked)

    def _begin(self) -> None:
        if self.options.last_good is not None:
            self._kept = LastGood(most=self.options.max_keys, max_age=self.options.last_good)

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    def _check(self) -> None:
        sources = (self._value is not _NO_VALUE) + (self._function is not None)
        last_good = self.options.last_good is not None
        if sources > 1:
            raise ConfigError("Fallback: expected a value or a function, found both")
        if not sources and not last_good:
            raise ConfigError("Fallback: expected value=, function= or last_good=, found none")
        if self._function is not None and not callable(self._function):
            raise ConfigError(
                f"Fallback: function: expected a function of the error, found {self._function!r}"
            )
        if last_good is not (self._key is not None):
            there, missing = ("last_good", "key") if last_good else ("key", "last_good")
            raise ConfigError(
                f"Fallback: {missing}: expected beside {there}, found none; last_good says how "
                "old a value may be, and key which calls share it"
            )

    def __repr__(self) -> str:
        code: dict[str, object] = {
            "key": self._key if callable(self._key) else None,
            "function": self._function,
            "on": self._on if self._on != _NO_ANSWER else None,
            "judge": self._judge,
        }
        if self._value is not _NO_VALUE:
            code["value"] = _Spelled(self._value)
        return spelled(self, self.options, name=self.name, **code)

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call, and answer in its place if it fails; see the class."""
        key = "" if self._kept is None else call_key(self._key or "")
        try:
            result = await call()
        except self._caught as error:
            if isinstance(error, WouldBlock) or not matches(error, self._on):
                raise
            found = await self._answer(error, type(error).__name__, key, runtime)
            if found is None:
                raise
            answer: T = found[0]
            return answer
        if self._judge is not None and self._judge(result):
            found = await self._answer(result, "result", key, runtime)
            return result if found is None else found[0]
        if self._kept is not None and key != "":
            with self._lock:
                self._kept.keep(key, result, runtime.now())
        return result

    async def _answer(
        self, failure: object, cause: str, key: Hashable, runtime: Runtime
    ) -> tuple[Any] | None:
        """The answer in a tuple of one, or None if there is none."""
        now, source = runtime.now(), "last_good"
        answer = self._last(key, now)
        if answer is None:
            if self._value is not _NO_VALUE:
                answer, source = (self._value,), "value"
            elif self._function is not None:
                said = await self._said(self._function(failure), runtime)
                answer, source = (said,), "function"
            else:
                return None
        publish(FellBack(name=self.name, at=now, cause=cause, source=source))
        return answer

    async def _said(self, said: Any, runtime: Runtime) -> Any:  # noqa: ANN401
        if not inspect.isawaitable(said):
            return said
        if isinstance(runtime, ThreadRuntime):
            if inspect.iscoroutine(said):
                said.close()
            raise TypeError(
                f"{self.name}: function is async, and this call is not: give it a sync one"
            )
        return await said

    def _last(self, key: Hashable, now: float) -> tuple[Any] | None:
        if self._kept is None or key == "":
            return None
        with self._lock:
            return self._kept.find(key, now)

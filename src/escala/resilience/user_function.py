"""The rule for functions of the user's that are asked about an outcome: they cannot change it.

`on`, `judge`, `hint`, `backoff` and `discard` are asked when a call has ended. When one of them
raises, or says what makes no sense, the call still ends as it did, and the policy goes on as if
that function had not been given. The fault is told: as a `FunctionFailed` event, as an uncaught
exception is (`sys.excepthook`), and as a note on the outcome, if that is an error.

What is asked before the call, its `key`, is not under this rule: there is no outcome yet, so its
error is raised, and the call is not made.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple, TypeVar

from escala.errors import ConfigError
from escala.kernel.events import publish
from escala.kernel.runtime import colours
from escala.resilience.events import FunctionFailed

A = TypeVar("A")
S = TypeVar("S")


class Asker(NamedTuple):
    """The policy that asks, by its class and its name."""

    where: str
    name: str

    def asking(
        self,
        function: Callable[[A], object],
        word: str,
        *,
        reads: Callable[[object], S],
        instead: Callable[[A], S],
    ) -> Callable[[A], S]:
        """The function under the rule; `ConfigError` if it cannot be called, or is async.

        `word` is the argument it was given for. `reads` takes what it says, or raises; `instead`
        is what holds without it.
        """
        check(function, word, where=self.where)

        def ask(outcome: A) -> S:
            try:
                return reads(function(outcome))
            except Exception as fault:  # noqa: BLE001  whatever a user's function may raise
                self._tell(fault, word, outcome)
                return instead(outcome)

        ask.__qualname__ = _shown(function)  # for the policy's `repr`
        return ask

    def judge(self, judge: Callable[[Any], object] | None) -> Callable[[Any], bool] | None:
        """Whether a value is a failure; without an answer it is none."""
        if judge is None:
            return None
        return self.asking(judge, "judge", reads=yes_or_no, instead=_no)

    def discard(self, discard: Callable[[Any], object] | None) -> Callable[[Any], None] | None:
        """What lets go of a value that no one will read."""
        if discard is None:
            return None
        return self.asking(discard, "discard", reads=refuse_awaitable, instead=_let_be)

    def _tell(self, fault: Exception, word: str, outcome: object) -> None:
        cause = type(fault).__name__
        if isinstance(outcome, BaseException):
            note = f"{self.name}: {word} failed with {cause}, so it was as if none had been given"
            if note not in getattr(outcome, "__notes__", ()):
                outcome.add_note(note)
        sys.excepthook(type(fault), fault, fault.__traceback__)
        now = colours.thread.now()
        publish(FunctionFailed(name=self.name, at=now, function=word, cause=cause))


def check(function: object, word: str, *, where: str) -> None:
    """Refuse with a `ConfigError` what is no function, or an async one."""
    if not callable(function):
        raise ConfigError(f"{where}: {word}: expected a function, found {function!r}")
    if inspect.iscoroutinefunction(function):
        found = _shown(function)
        raise ConfigError(f"{where}: {word}: expected a sync function, found async {found}")


def yes_or_no(said: object) -> bool:
    """What a predicate says."""
    if not isinstance(said, bool):
        refuse_awaitable(said)
    return bool(said)


def number(said: object) -> float:
    """The number that a function says; `TypeError` or `ValueError` if it is none."""
    refuse_awaitable(said)
    if not isinstance(said, (int, float)):
        raise TypeError(f"expected a number, found {type(said).__name__}")
    if said != said:  # noqa: PLR0124  NaN; `math.isnan` has no word for 10**400
        raise ValueError("expected a number, found NaN")
    return said


def refuse_awaitable(said: object) -> None:
    """`TypeError` for what would have to be awaited, which no one here does."""
    if isinstance(said, CoroutineType):
        said.close()
    if inspect.isawaitable(said):
        found = type(said).__name__
        raise TypeError(f"expected a sync function, found one that returns a {found}")


def _shown(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _no(_: object) -> bool:
    return False


def _let_be(_: object) -> None:
    return None

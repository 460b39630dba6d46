"""Which exceptions a policy looks at, checked when it is made and not at the first failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from escala.errors import ConfigError, Unavailable
from escala.resilience.user_function import Asker, yes_or_no

Kinds: TypeAlias = type[Exception] | tuple[type[Exception], ...]
Failures: TypeAlias = Kinds | Callable[[Exception], bool]

BY_CHANCE: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, Unavailable)
"""What fails by chance or for lack of capacity, and may go well the next time."""


def failures(on: Failures, *, default: Kinds, asker: Asker) -> Failures:
    """The classes as a tuple, or the predicate; `ConfigError` for anything else.

    Where the predicate itself fails, `default` holds.
    """
    if not callable(on) or isinstance(on, type):
        return failure_kinds(on, where=asker.where)

    def instead(error: Exception) -> bool:
        return isinstance(error, default)

    return asker.asking(on, "on", reads=yes_or_no, instead=instead)


def matches(error: Exception, on: Failures) -> bool:
    """Whether an error is one of these."""
    return isinstance(error, on) if isinstance(on, (type, tuple)) else on(error)


def failure_kinds(on: Kinds, *, where: str) -> tuple[type[Exception], ...]:
    """The classes as a tuple; `ConfigError` for anything but subclasses of `Exception`.

    `BaseException` is refused, since it would take in what ends a task or the program.
    """
    if isinstance(on, (list, set, frozenset)):
        names = ", ".join(getattr(kind, "__name__", repr(kind)) for kind in on)
        raise ConfigError(
            f"{where}: on: expected an exception class or a tuple of them, found a "
            f"{type(on).__name__}: write ({names}{',' if len(on) == 1 else ''})"
        )
    kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ConfigError(f"{where}: on: expected exception classes, found {kind!r}")
    return kinds

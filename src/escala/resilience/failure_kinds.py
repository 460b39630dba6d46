"""Which exceptions a policy looks at, checked when it is made and not at the first failure."""

from __future__ import annotations

from typing import Any, TypeAlias

from escala.errors import ConfigError, Unavailable

Kinds: TypeAlias = type[Exception] | tuple[type[Exception], ...]


BY_CHANCE: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, Unavailable)
"""What fails by chance or for lack of capacity, and may go well the next time."""


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

"""Which exceptions a policy looks at, checked when it is made and not at the first failure."""

from __future__ import annotations

from typing import Any, TypeAlias

from escala.errors import ConfigError

Kinds: TypeAlias = type[Exception] | tuple[type[Exception], ...]


def failure_kinds(on: Kinds, *, where: str) -> tuple[type[Exception], ...]:
    """The classes as a tuple; `ConfigError` for anything but subclasses of `Exception`.

    `BaseException` is refused, since it would take in what ends a task or the program.
    """
    kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ConfigError(f"{where}: on: expected exception classes, found {kind!r}")
    return kinds

"""How far a replica may be behind and still be read."""

from __future__ import annotations

import msgspec

from escala.kernel.config import options
from escala.kernel.units import PositiveDuration, Size


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers of a `Lag`."""

    max_bytes: Size = Size("8MiB")
    """Most bytes of WAL that the primary has written and the replica has not replayed."""
    max_age: PositiveDuration = PositiveDuration("2s")
    """Longest time for which the primary may have had what the replica still lacks."""


class Lag:
    """How far a replica may be behind: in bytes of WAL and in time, whichever comes first.

    `max_bytes` is a size, `max_age` seconds or text such as "2s". A replica beyond either is not
    read until it lags by half of both at most. Raises `ConfigError`.

    >>> Lag(max_bytes="64MiB", max_age=5)
    Lag(max_bytes=67108864, max_age=5)
    """

    def __init__(self, *, max_bytes: int | str = "8MiB", max_age: float | str = "2s") -> None:
        limits = options(Limits, {"max_bytes": max_bytes, "max_age": max_age}, where="Lag")
        self.max_bytes, self.max_age = int(limits.max_bytes), float(limits.max_age)

    def __repr__(self) -> str:
        return f"Lag(max_bytes={self.max_bytes}, max_age={self.max_age:g})"

"""How large the first level may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.units import PositiveSize
from escala.kernel.wrong_value import sentence, shown


class _Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_entries: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 10_000
    max_weight: PositiveSize | None = None


class L1:
    """The part of a cache that lives in this process: S3-FIFO, which scans cannot flush.

    - `max_entries`: how many values it holds. An entry costs about 160 bytes beside key and value.
    - `max_weight`, `weigh`: a limit by size too. `weigh(value)` says what one weighs; by default
      the bytes of text, bytes and arrays of those, and what `sys.getsizeof` says of anything
      else, which for objects that hold others is too little: give your own.

    Values are handed out as they are and not copied: do not change what a cache gives you.

    >>> L1(1000).max_entries
    1000
    """

    __slots__ = ("max_entries", "max_weight", "weigh")

    def __init__(
        self,
        max_entries: int = 10_000,
        *,
        max_weight: str | int | None = None,
        weigh: Callable[[Any], int] | None = None,
    ) -> None:
        given = {"max_entries": max_entries, "max_weight": max_weight}
        read = options(_Options, given, where="L1")
        self.max_entries = read.max_entries
        self.max_weight = None if read.max_weight is None else int(read.max_weight)
        if weigh is not None and not callable(weigh):
            raise ConfigError(f"L1: weigh: {sentence('a function of a value', shown(weigh))}")
        self.weigh = weigh

    def __repr__(self) -> str:
        weight = "" if self.max_weight is None else f", max_weight={self.max_weight}"
        return f"L1({self.max_entries}{weight})"

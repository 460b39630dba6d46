"""A value, and where it came from."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What `Cache.entry` knows of a value; true when there is one.

    `source`: "l1", "l2", "load", "pending" (written, and on its way to the source) or "stale";
    "none" when there is no value. `age`: seconds
    since its load began. `why`: of a stale value, why it was given all the same.
    """

    value: Any
    source: Literal["l1", "l2", "load", "pending", "stale", "none"]
    age: float = 0.0
    why: str = ""

    def __bool__(self) -> bool:
        return self.source != "none"

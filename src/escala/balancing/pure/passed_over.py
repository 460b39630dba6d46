"""Which targets a pick has to leave out."""

from __future__ import annotations

from collections.abc import Collection


def passed_over(skip: Collection[int], many: int) -> list[int]:
    """Those of the targets 0 to `many` - 1 that are in `skip`, ascending; none if all are."""
    out = sorted({index for index in skip if 0 <= index < many})
    return out if len(out) < many else []

"""The header that carries a deadline from one service to the next: the milliseconds left.

Time left and not a moment, since two machines' clocks differ. gRPC has `grpc-timeout` for it.
"""

from __future__ import annotations

import re

TIMEOUT_FIELD = "X-Request-Timeout-Ms"

_LONGEST = 10**12
_DIGITS = re.compile(r"[0-9]{1,15}")


def written(left: float) -> str:
    """The field for so many seconds, rounded down: never later than true, and at least 1."""
    return str(max(1, int(min(left * 1000, _LONGEST))))


def read(value: str | None) -> float | None:
    """The seconds that a field speaks of; None for one that is missing or says nothing."""
    if value is None or not _DIGITS.fullmatch(value):
        return None
    return min(int(value), _LONGEST) / 1000

"""What a `Database` is told in numbers and words, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from escala.databases.reading_functions import READING
from escala.errors import ConfigError
from escala.kernel.units import Duration, PositiveDuration
from escala.kernel.wrong_value import sentence

_SHORTEST_SECRET = 16


class DatabaseOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a `Database` that stand for themselves."""

    fallback: Literal["primary", "refuse"]
    upgrade: Literal["refuse", "move"]
    slow_start: Duration
    interval: PositiveDuration
    patience: PositiveDuration
    wait: Duration


def reading_functions(own: Collection[str]) -> frozenset[str]:
    """Names of SQL functions that only read, with one's own among them."""
    if isinstance(own, str):
        raise ConfigError(f"Database: functions: {sentence('a list of names', 'text')}")
    return READING | {name.lower() for name in own}


def signing_key(secret: str | bytes | None) -> bytes | None:
    """A secret as bytes; one that could be guessed is refused."""
    raw = secret.encode() if isinstance(secret, str) else secret
    if raw is not None and len(raw) < _SHORTEST_SECRET:
        raise ConfigError(f"Database: secret: {sentence('at least 16 bytes', f'{len(raw)}')}")
    return raw

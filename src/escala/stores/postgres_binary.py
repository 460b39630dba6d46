"""Values as PostgreSQL has them inside: no quoting, no digits, and half the bytes of a `bytea`."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

BOOL, BYTEA, TEXT, FLOAT8 = 16, 17, 25, 701  # the types' numbers, the same on every server

FLOAT = Struct(">d")
LONG = Struct(">q")

_HEAD = Struct(">iiI")
_SIDE = Struct(">ii")
_LENGTH = Struct(">i")
_NULL = _LENGTH.pack(-1)


def array(kind: int, items: Sequence[bytes | None]) -> bytes:
    """An array of values of one type, each packed before; `None` is NULL."""
    if not items:
        return _HEAD.pack(0, 0, kind)
    parts = [_HEAD.pack(1, int(None in items), kind), _SIDE.pack(len(items), 1)]
    for item in items:
        parts += (_NULL,) if item is None else (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


def floats(numbers: Sequence[float]) -> bytes:
    """An array of `float8`."""
    return array(FLOAT8, [FLOAT.pack(number) for number in numbers])


def bools(flags: Sequence[bool]) -> bytes:
    """An array of `boolean`."""
    return array(BOOL, [b"\1" if flag else b"\0" for flag in flags])

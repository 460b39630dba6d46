"""A write on its way to the source, and how the journal keeps it."""

from __future__ import annotations

import enum
from struct import Struct, error
from typing import Any, NamedTuple

from escala.errors import StoreUnavailable

_HEAD = Struct(">BI")
_DELETED, _SEALED = 1, 2


class Write(NamedTuple):
    """What `save_many` is to save: one key's latest value, or that it is `deleted` (value None).

    The same write may come again after a failure or a crash, then with the same `sequence`. Of
    two writes of a key the later one has the greater `sequence`, also after a restart: a source
    that keeps it beside the value, and ignores all that is not greater, saves each write once.
    """

    key: str
    value: Any
    sequence: int
    deleted: bool = False


class ParkedWrite(NamedTuple):
    """A write that the source does not take, while it takes others."""

    key: str
    sequence: int
    deleted: bool
    cause: str


class Pending(enum.Enum):
    """What `pending` answers when it is no value."""

    NOTHING = "nothing"
    DELETED = "deleted"


def record_of(key: str, payload: bytes, *, deleted: bool, sealed: bool) -> bytes:
    """What the journal keeps of a write."""
    name = key.encode()
    return _HEAD.pack(_DELETED * deleted | _SEALED * sealed, len(name)) + name + payload


def read_record(record: bytes) -> tuple[str, bytes, bool, bool]:
    """Key, payload, and whether it is deleted and sealed. Raises `StoreUnavailable`."""
    try:
        flags, length = _HEAD.unpack_from(record)
        end = _HEAD.size + length
        if flags > _DELETED | _SEALED or end > len(record):
            raise ValueError  # noqa: TRY301
        key = record[_HEAD.size : end].decode()
    except (error, ValueError):
        raise StoreUnavailable(
            "the journal holds a record that is no write: it belongs to something else, so name "
            "a file of its own for each write-behind"
        ) from None
    return key, record[end:], bool(flags & _DELETED), bool(flags & _SEALED)

"""What a shard key may be, and how it stands in JSON."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from escala.errors import UnknownKey

Value = str | int | bytes | date | datetime | UUID
KeyValue = Value | tuple[Value, ...]

_LEAST, _MOST = -(2**63), 2**63 - 1  # what a column of 64 bits can hold


def checked(key: object) -> KeyValue:
    """The key, if it can be one. Raises `UnknownKey`."""
    if isinstance(key, tuple) and key and not any(isinstance(part, tuple) for part in key):
        return tuple(map(_value, key))
    return _value(key)


def hashable(key: KeyValue) -> KeyValue:
    """The key, if a table can be asked about it: for one, True is 1. Raises `UnknownKey`."""
    return key if type(key) in {str, int} else checked(key)


def as_json(key: KeyValue) -> Any:  # noqa: ANN401  what `from_json` reads
    """As plain JSON: text and whole numbers as they are, anything else with its type's name."""
    if isinstance(key, tuple):
        return [as_json(part) for part in key]
    if isinstance(key, str | int):
        return key
    if isinstance(key, bytes):
        return {"bytes": b64encode(key).decode()}
    if isinstance(key, UUID):
        return {"uuid": str(key)}
    return {"datetime" if isinstance(key, datetime) else "date": key.isoformat()}


def from_json(found: Any) -> KeyValue:  # noqa: ANN401  what `as_json` wrote
    """Read what `as_json` wrote. Raises `ValueError` (`UnknownKey` is a `LookupError`)."""
    if isinstance(found, list):
        return checked(tuple(from_json(part) for part in found))
    if not isinstance(found, dict):
        return checked(found)
    ((kind, text),) = found.items()
    if kind not in _READ or not isinstance(text, str):
        raise ValueError(f"expected one of {', '.join(_READ)}, found {kind!r}")
    return _READ[kind](text)


def as_bytes(key: KeyValue) -> bytes:
    """The bytes of a key for a hash that knows only bytes: of a number its digits."""
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, int):
        return b"%d" % key
    if isinstance(key, datetime) and key.tzinfo is not None:
        key = key.astimezone(UTC)  # one moment is one key, whatever the zone
    return (key.isoformat() if isinstance(key, date) else str(key)).encode()


_READ: dict[str, Callable[[str], Value]] = {
    "bytes": lambda text: b64decode(text, validate=True),
    "uuid": UUID,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
}


def _value(key: object) -> Value:
    if isinstance(key, str):
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise UnknownKey(f"ShardMap: {key!r} is no text that a database takes") from error
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        if not _LEAST <= key <= _MOST:
            raise UnknownKey(f"ShardMap: {key} is beyond the whole numbers of 64 bits")
        return key
    if isinstance(key, bytes | date | UUID):  # a datetime is a date
        return key
    raise UnknownKey(
        f"ShardMap: expected a key of text, a whole number, bytes, a date or a UUID, found {key!r}"
    )

"""Writes structs back as plain data that reads the same: the reader's counterpart."""

from __future__ import annotations

from typing import Any

import msgspec

from escala.kernel.reader import Composite
from escala.kernel.scalar import Scalar


def plain(value: object) -> Any:  # noqa: ANN401  JSON-shaped
    """A struct or value as mappings, lists, text and numbers, with units as text ("250ms")."""
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_spelled))


def differing(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields that differ from their defaults, written as `plain` does."""
    written: dict[str, Any] = plain(struct)
    kept = {}
    for field in msgspec.structs.fields(struct):
        made = field.default_factory
        default = field.default if made is msgspec.NODEFAULT else made()
        if field.required or getattr(struct, field.name) != default:
            kept[field.name] = written[field.encode_name]
    return kept


def _spelled(value: object) -> object:
    if isinstance(value, Scalar):
        return value.text
    if isinstance(value, Composite):
        return plain(value.plain())
    raise TypeError(f"{type(value).__name__} has no spelling in configuration")

"""The text of one value in a key: short, the same everywhere, and never another value's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from uuid import UUID

LONGEST = 200
NONE = "%none"

_DIGEST = 16  # bytes: no two of 2**64 keys are likely to share one
_PREFIX = LONGEST - 2 - 2 * _DIGEST
_AS_THEY_ARE = (UUID, date, time, Decimal, int, float)


def value_text(value: object, name: str) -> str:
    """What an f-string would write, without any ":" and with "%" only where this put it.

    `None` is "%none", which no text is; an enum's member is its value. Raises `TypeError` with
    the name for a value of a type that has no text of its own, such as an object or a list.
    """
    if value is None:
        return NONE
    if isinstance(value, Enum):
        return value_text(value.value, name)
    if isinstance(value, str):
        return _escaped(str.__str__(value))
    if isinstance(value, _AS_THEY_ARE):
        return _escaped(str(value))
    raise TypeError(
        f"{name}: expected text, a number, a UUID, an enum or a date in a key; found "
        f"{type(value).__name__}: name what tells it from others, as in {{{name}.id}}"
    )


def values_text(values: Iterable[object], name: str) -> str:
    """The text of any number of values, such as `*args`: a comma before each."""
    return "".join(["," + value_text(value, name).replace(",", "%2C") for value in values])


def shortened(key: str) -> str:
    """A key of 200 characters: how a longer one begins, and a digest of all of it."""
    digest = blake2b(key.encode(errors="surrogatepass"), digest_size=_DIGEST).hexdigest()
    return f"{key[:_PREFIX]}%#{digest}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A")

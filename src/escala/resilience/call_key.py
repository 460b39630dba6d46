"""Which calls belong together: those with the same value in the request that is being served."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from hashlib import sha256
from typing import TypeAlias

from escala.kernel.context import Request, current

Grouping: TypeAlias = Callable[[Request | None], Hashable]

_LONGEST = 64


def call_key(key: str | Grouping) -> Hashable:
    """The key of the current call: a value of its request by name, or what a function says of it.

    Calls without a value have the key "". Raises `TypeError` for what cannot be a key.
    """
    request = current.get()
    if isinstance(key, str):
        value = (request.get(key) or "") if request is not None else ""
        # A client may choose it, and memory is counted in keys: a long one is kept as a digest.
        return value if len(value) <= _LONGEST else _digest(value)
    found = key(request)
    try:
        hash(found)
    except TypeError as error:
        raise TypeError(
            f"key: expected a value that can be hashed, such as text or a tuple of text; "
            f"found {type(found).__name__}"
        ) from error
    return "" if found is None else found


def key_text(key: Hashable) -> str:
    """A key in an event or in a store, where all processes have to write it the same way."""
    text = key if isinstance(key, str) else repr(key)
    return text if len(text) <= _LONGEST else _digest(text)


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()

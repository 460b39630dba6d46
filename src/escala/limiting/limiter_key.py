"""Keys of a length that a map or a store can bear."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import sha256

LONGEST = 64


def short(key: Hashable, limiter: str) -> Hashable:
    """The key, or a digest of a long one: clients choose keys, and memory is counted in keys.

    Raises `TypeError` for what cannot be a key.
    """
    try:
        hash(key)
    except TypeError as error:
        raise TypeError(
            f"{limiter}: expected a key that can be hashed, such as text or a tuple of text; "
            f"found {type(key).__name__}"
        ) from error
    if isinstance(key, str) and len(key) > LONGEST:
        return f"sha256:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"
    if isinstance(key, bytes) and len(key) > LONGEST:
        return sha256(key).digest()
    return key


def stored(key: Hashable, limiter: str) -> str:
    """A short key as text for a store that several processes share. Raises `TypeError`."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return f"bytes:{key.hex()}"
    if isinstance(key, int):
        return f"int:{key}"
    if isinstance(key, tuple):
        text = "tuple:" + ",".join(repr(stored(each, limiter)) for each in key)
        return str(short(text, limiter))
    raise TypeError(
        f"{limiter}: expected a key of text, bytes, a whole number or a tuple of those, since "
        f"a store keeps it; found {type(key).__name__}"
    )

"""What callers name: keys, tags and namespaces, as both levels take them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from escala.caching.value_store import Signal

LONGEST_KEY = 512
_KEPT_OF_KEY = 200


def signals_of(
    keys: Sequence[str], tag: str | None, namespace: str | None, *, soft: bool
) -> list[Signal]:
    """What to invalidate, as both levels take it. Raises `TypeError` if it is nothing."""
    signals = [Signal("key", checked(key), soft) for key in keys]
    if tag is not None:
        signals.append(Signal("tag", f"#{tag}", soft))
    if namespace is not None:
        signals.append(Signal("tag", f"/{namespace}", soft))
    if not signals:
        raise TypeError("say what: one or more keys, tag=…, or namespace=…; `clear` takes all")
    return signals


def checked(key: str) -> str:
    """A key as both levels take it. Raises `TypeError` if it is no text."""
    if type(key) is not str:
        if not isinstance(key, str):
            raise TypeError(
                f"expected a key of text, found {type(key).__name__}: build one, such as "
                "f'user:{id}', or let `memo` do it"
            )
        key = str(key)
    if len(key) <= LONGEST_KEY:
        return key
    digest = blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return f"{key[:_KEPT_OF_KEY]}~{digest}"

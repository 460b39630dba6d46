"""Which calls belong together: how the key of a call is found, kept short, and written down."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from hashlib import sha256
from typing import TypeAlias, cast

from escala.kernel.context import Request, current
from escala.resilience.user_function import refuse_awaitable

Grouping: TypeAlias = Callable[[Request | None], Hashable]

LONGEST = 64
_MOST_BITS = 256
_MOST_PARTS = 8
_MARKS = ("text:", "bytes:", "int:", "tuple:")


def call_key(key: str | Grouping, whose: str = "key") -> Hashable:
    """The key of the current call: a value of its request by name, or what a function says of it.

    Calls without a value have the key "". Raises `TypeError` for what cannot be a key; `whose`
    key that would be, its message says first.
    """
    request = current.get()
    if isinstance(key, str):
        value: Hashable = (request.get(key) or "") if request is not None else ""
    elif (value := key(request)) is None:
        value = ""
    return value if value.__class__ is str and len(value) <= LONGEST else short(value, whose)


def short(key: Hashable, whose: str) -> Hashable:
    """The key, or a digest of a long one: clients choose keys, and memory is counted in keys.

    It is text, bytes, a whole number or a tuple of those, which every process writes alike, so
    that what counts together in memory does so in a store. Raises `TypeError` for anything else.
    """
    if isinstance(key, str):
        return key if len(key) <= LONGEST else _digest("text:", key.encode(errors="surrogatepass"))
    if isinstance(key, bytes):
        return key if len(key) <= LONGEST else _digest("bytes:", key).encode()
    if isinstance(key, int):
        return key if key.bit_length() <= _MOST_BITS else _digest("int:", hex(key).encode())
    if isinstance(key, tuple):
        made = tuple([short(part, whose) for part in key])
        return made if len(made) <= _MOST_PARTS else _digest("tuple:", _joined(made))
    refuse_awaitable(key)
    what = 'use "" for calls without one' if key is None else "make it text, with str(key)"
    raise TypeError(
        f"{whose}: expected a key of text, bytes, a whole number or a tuple of those; found "
        f"{type(key).__name__}: {what}"
    )


def key_text(key: Hashable) -> str:
    """A short key as text for events and stores; no two keys are written the same."""
    if isinstance(key, str):
        return f"text:{key}" if key.startswith(_MARKS) else key
    if isinstance(key, bytes):
        kind, data = "bytes:", key.hex().encode()
    elif isinstance(key, int):
        kind, data = "int:", str(int(key)).encode()
    else:
        kind, data = "tuple:", _joined(cast("tuple[Hashable, ...]", key))
    if len(kind) + len(data) > LONGEST:
        return _digest(kind, data)
    return kind + data.decode(errors="surrogatepass")


def _joined(parts: tuple[Hashable, ...]) -> bytes:
    """The parts of a tuple, in quotes that show where each ends."""
    return ",".join([repr(key_text(part)) for part in parts]).encode(errors="surrogatepass")


def _digest(kind: str, data: bytes) -> str:
    """No text, number or tuple has the digest of another kind of key."""
    return f"sha256:{sha256(kind.encode() + data).hexdigest()}"

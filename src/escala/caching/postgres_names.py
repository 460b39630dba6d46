"""Names of any length as the tables hold them, and signals as they are told of."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from escala.caching.pure.notice import notices
from escala.caching.value_store import Signal

_SIZE = 16  # bytes: two names that share a digest are not found by trying


def cache_of(name: str) -> bytes:
    """A cache's name."""
    return _digest(name, b"c")


def place_of(cache: bytes, key: str) -> bytes:
    """A key of that cache."""
    return _digest(key, b"k" + cache)


def tag_of(name: str) -> bytes:
    """A tag, of whatever cache."""
    return _digest(name, b"t")


def told(writer: str, signals: Sequence[Signal], message: int = 0) -> list[bytes]:
    """What to notify others with: the names themselves, since an ear knows no digests."""
    texts = [
        b"%b %b %d 0 %b"
        % (writer.encode(), kind.encode(), soft, name.encode(errors="surrogatepass"))
        for kind, name, soft in signals
    ]
    return [piece.encode() for piece in notices(texts, message)]


def _digest(name: str, of: bytes) -> bytes:
    return blake2b(name.encode(errors="surrogatepass"), digest_size=_SIZE, key=of).digest()

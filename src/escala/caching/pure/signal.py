"""An invalidation as it travels: `<writer> <kind> <soft> <clock> <name>`."""

from __future__ import annotations

from typing import Literal, NamedTuple

_PARTS = 5


class Signal(NamedTuple):
    """An invalidation: of a key, of all with a tag, or of all (`name` is then "").

    `soft` expires instead of deleting: what is there may still be served as stale.
    """

    kind: Literal["key", "tag", "all"]
    name: str = ""
    soft: bool = False


def signal_of(text: bytes, writer: bytes) -> Signal | None:
    """What another writer has invalidated; `None` if it is this one's own.

    `ValueError` for anything else: the store has begun anew, or someone speaks a newer language.
    Then all may have changed.

    >>> signal_of(b"a1 tag 1 17 customer:9", b"b2")
    Signal(kind='tag', name='customer:9', soft=True)
    """
    parts = text.split(b" ", _PARTS - 1)
    if len(parts) != _PARTS or parts[2] not in (b"0", b"1"):
        raise ValueError(f"expected a signal, found {text[:80]!r}")
    if parts[0] == writer:
        return None
    name, soft = parts[4].decode(errors="surrogatepass"), parts[2] == b"1"
    match parts[1]:
        case b"key":
            return Signal("key", name, soft)
        case b"tag":
            return Signal("tag", name, soft)
        case b"all":
            return Signal("all", "", soft)
    raise ValueError(f"expected a key, a tag or all, found {text[:80]!r}")

"""A value with what its source says of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from escala.caching.pure.lifetime import Lifetime

TtlOfResult: TypeAlias = "str | float | Lifetime | None"


class Loaded(msgspec.Struct, frozen=True):
    """What a load may return in place of its value, when the source says how long it is good for.

    `ttl`: seconds, "5m" or "5m±10%"; zero: not to be kept; None: as the cache has it. `tags`:
    what the value belongs to, beside the tags that the memo or the call names.

    >>> from escala.caching import Cache
    >>> cache = Cache("pages")
    >>> cache.get("page:1", lambda: Loaded("hello", ttl="10s", tags=["site:2"]))
    'hello'
    >>> cache.delete(tag="site:2"), cache.get("page:1")
    (True, None)
    """

    value: Any
    ttl: TtlOfResult = None
    tags: Iterable[str] = ()

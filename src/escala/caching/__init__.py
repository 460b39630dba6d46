"""Keep what is expensive to ask for, and never be wrong about an invalidation."""

from __future__ import annotations

from escala.caching.answer import Answer
from escala.caching.cache import Cache
from escala.caching.codec import Codec, codec_of
from escala.caching.http_origin import HttpOrigin
from escala.caching.l1 import L1
from escala.caching.loaded import Loaded
from escala.caching.origin import Origin, Purge
from escala.caching.pure.lifetime import Lifetime
from escala.caching.write import ParkedWrite, Pending, Write
from escala.caching.write_behind import WriteBehind

__all__ = [
    "L1",
    "Answer",
    "Cache",
    "Codec",
    "HttpOrigin",
    "Lifetime",
    "Loaded",
    "Origin",
    "ParkedWrite",
    "Pending",
    "Purge",
    "Write",
    "WriteBehind",
    "codec_of",
]

"""Keep what is expensive to ask for, and never be wrong about an invalidation."""

from __future__ import annotations

from escala.caching.answer import Answer
from escala.caching.cache import Cache
from escala.caching.codec import Codec, codec_of
from escala.caching.l1 import L1
from escala.caching.pure.lifetime import Lifetime

__all__ = ["L1", "Answer", "Cache", "Codec", "Lifetime", "codec_of"]

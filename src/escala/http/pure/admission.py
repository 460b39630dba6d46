"""Everything a cache has to know of an answer that has just arrived, decided at once."""

from __future__ import annotations

import msgspec

from escala.http.pure.asked import Asked
from escala.http.pure.fields import Headers
from escala.http.pure.freshness import Lifetime, Windows, initial_age, lifetime, windows
from escala.http.pure.metadata import Metadata, read_metadata
from escala.http.pure.storability import refusal


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache's owner allows where answers do not say, in seconds.

    `unstated` is the freshness of answers that state none (None: guess by Last-Modified), the
    other two are the windows of RFC 5861.
    """

    unstated: float | None = None
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """When the answer came: by the wall clock, by the monotonic one, and seconds after asking."""

    wall: float
    now: float
    delay: float


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict; `refusal` says why the answer is not stored, None that it is."""

    meta: Metadata
    life: Lifetime
    windows: Windows
    refusal: str | None


def admit(
    method: str, asked: Asked, status: int, headers: Headers, *, arrival: Arrival, terms: Terms
) -> Admission:
    """Judge an answer with this status and these headers."""
    meta = read_metadata(headers, arrived=arrival.wall)
    life = lifetime(status, meta, unstated=terms.unstated)
    age = initial_age(meta, arrived=arrival.wall, delay=arrival.delay)
    spans = windows(
        meta,
        life,
        born=arrival.now - age,
        stale_while_revalidate=terms.stale_while_revalidate,
        stale_if_error=terms.stale_if_error,
    )
    usable = max(spans.fresh, spans.stale, spans.rescue) > arrival.now
    return Admission(
        meta=meta,
        life=life,
        windows=spans,
        refusal=refusal(method, asked, status, meta, life, usable=usable),
    )

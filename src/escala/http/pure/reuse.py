"""May this stored answer be given now? Its own windows against the wishes of the client."""

from __future__ import annotations

import enum

from escala.http.pure.cache_control import CacheControl
from escala.http.pure.freshness import Windows


class Use(enum.Enum):
    """How a stored answer may be used at this moment."""

    FRESH = "fresh"  # as it is
    ACCEPTED = "accepted"  # stale, and the client said that this will do
    STALE = "stale"  # at once, while someone asks the origin for a newer one
    NONE = "none"  # only after asking the origin


def use(windows: Windows, control: CacheControl, *, now: float) -> Use:
    """Decide for a request with these directives (RFC 9111, 4.2 and 5.2.1; RFC 5861, 3)."""
    if control.no_cache:
        return Use.NONE
    if control.max_age is not None and now - windows.born > control.max_age:
        return Use.NONE
    left = windows.fresh - now
    if control.min_fresh is not None and left < control.min_fresh:
        return Use.NONE
    if left > 0:
        return Use.FRESH
    if control.max_stale is not None and windows.yields and -left <= control.max_stale:
        return Use.ACCEPTED
    return Use.STALE if now < windows.stale else Use.NONE


def use_paused(windows: Windows, control: CacheControl, *, now: float, pause: float) -> Use:
    """The same until `pause`, when it was in vain to ask a moment ago: stale will do if it may."""
    how = use(windows, control, now=now)
    if now >= pause or how is Use.FRESH:
        return how
    willing = how is Use.STALE or rescues(windows, control, now=now)
    return Use.ACCEPTED if willing else how


def rescues(windows: Windows, control: CacheControl, *, now: float) -> bool:
    """Whether it may stand in for an answer that failed (RFC 5861, 4).

    The client may allow it as well, with the same directive, unless the answer forbids any
    stale use; a client that asked for `no-cache` wants the failure rather than an old answer.
    """
    if control.no_cache:
        return False
    if now < max(windows.rescue, windows.stale):
        return True
    allowed = control.stale_if_error
    return allowed is not None and windows.yields and now < windows.fresh + allowed


FAILURES = frozenset({500, 502, 503, 504})  # the statuses that RFC 5861 calls errors

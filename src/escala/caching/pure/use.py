"""What may be done with an entry now: give it, give it and ask for news, or ask first."""

from __future__ import annotations

import enum
import math

from escala.caching.pure.entry import Entry, Terms

_SURE = 1e-9  # below this chance an early refresh is not thought of
EARLY = -math.log(_SURE)


class Use(enum.Enum):
    """From good to useless."""

    FRESH = "fresh"
    EARLY = "early"  # fresh, and this caller is the one to ask for news already
    REVALIDATE = "revalidate"  # stale: give it, and ask for news meanwhile
    PAUSED = "paused"  # stale: give it, asking has failed a moment ago
    RESCUE = "rescue"  # stale: give it only if asking fails
    GONE = "gone"


def use_of(entry: Entry, *, now: float, draw: float) -> Use:
    """How an entry may be used; `draw` is a random number from 0 to 1.

    Early refreshes follow XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache
    Stampede Prevention, VLDB 2015, with beta = 1): the longer the load takes and the nearer the
    end of freshness, the likelier, so that of many callers about one goes ahead of time.
    """
    if now < entry.until:
        return Use.FRESH
    terms, fresh_until = entry.terms, entry.until + entry.terms.early
    if now < fresh_until:
        early = -terms.took * math.log(max(draw, _SURE))
        late = now + early >= fresh_until and now >= terms.paused_until
        return Use.EARLY if late else Use.FRESH
    past = now - fresh_until
    if past >= terms.revalidate and past >= terms.rescue:
        return Use.GONE
    if now < terms.paused_until:
        return Use.PAUSED
    return Use.REVALIDATE if past < terms.revalidate else Use.RESCUE


def expired(entry: Entry, *, now: float) -> Entry:
    """The same entry, no longer fresh from now on; itself if it is not."""
    terms = entry.terms
    if now >= entry.until + terms.early:
        return entry
    born = entry.until + terms.early - terms.fresh
    return entry.again(terms._replace(fresh=max(now - born, 0.0), early=0.0), until=now)


def paused(entry: Entry, *, until: float) -> Entry:
    """The same entry, for which no one asks until then."""
    return entry.again(entry.terms._replace(paused_until=until), until=entry.until)


def kept_for(terms: Terms) -> float:
    """Seconds from its birth after which an entry is of no use at all."""
    return terms.fresh + max(terms.revalidate, terms.rescue)


def early_by(took: float, fresh: float) -> float:
    """How long before the end of freshness a refresh is first thought of."""
    return min(took * EARLY, fresh)

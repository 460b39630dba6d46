"""How long an answer may be used without asking again, and how old it is (RFC 9111, 4.2)."""

from __future__ import annotations

import math

import msgspec

from escala.http.pure.metadata import Metadata

# RFC 9110, 15.1, without 206: parts of answers are not stored here.
CACHEABLE_BY_DEFAULT = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
GUESS_SHARE = 0.1
LONGEST_GUESS = 3600.0
CLOCK_SKEW = 10.0


class Lifetime(msgspec.Struct, frozen=True):
    """Seconds of freshness; `guessed` when the answer itself states none."""

    seconds: float
    guessed: bool = False


def lifetime(status: int, meta: Metadata, *, unstated: float | None = None) -> Lifetime:
    """Freshness in a shared cache: s-maxage, else max-age, else Expires, else a guess.

    A guess is made only for statuses that are cacheable by default or for `public` answers:
    `unstated` if given, else a tenth of the time since Last-Modified, at most an hour (RFC 9111
    suggests the tenth; the cap is ours, since a gateway's owner cannot purge what he did not
    know was stored).
    """
    control = meta.control
    if control.s_maxage is not None:
        return Lifetime(control.s_maxage)
    if control.max_age is not None:
        return Lifetime(control.max_age)
    if meta.expires is not None:
        return Lifetime(max(0.0, meta.expires - meta.date))
    guess = 0.0
    if status in CACHEABLE_BY_DEFAULT or control.public:
        if unstated is not None:
            guess = unstated
        elif meta.last_modified is not None:
            guess = min(GUESS_SHARE * max(0.0, meta.date - meta.last_modified), LONGEST_GUESS)
    return Lifetime(guess, guessed=True)


def initial_age(meta: Metadata, *, arrived: float, delay: float) -> float:
    """How old the answer already was when it arrived (RFC 9111, 4.2.3), in seconds.

    `arrived` is the wall clock at arrival, `delay` the seconds between question and answer. The
    greater of two estimates counts: what the caches before us say, and what the clocks say.

    Two refinements, since here the sender is mostly the origin itself. The delay counts only
    with an `Age`: without one nothing says that the answer lay in a cache meanwhile, and else an
    origin that needs longer than its own max-age could never be cached, just when it is slow.
    And `Date` is believed only when it is more than ten seconds back, since clocks differ.
    """
    apparent = arrived - meta.date
    said = 0.0 if meta.age is None else meta.age + delay
    return max(0.0, said, apparent if apparent > CLOCK_SKEW else 0.0)


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """Until when an answer may be used, and how, in the monotonic seconds of `born`.

    Before `fresh` at once; before `stale` at once while someone revalidates it; before `rescue`
    when revalidating failed. `yields` says whether a client that accepts stale answers
    (`max-stale`) may get one.
    """

    born: float
    fresh: float
    stale: float
    rescue: float
    yields: bool


def windows(
    meta: Metadata,
    life: Lifetime,
    *,
    born: float,
    stale_while_revalidate: float = 0.0,
    stale_if_error: float = 0.0,
) -> Windows:
    """The windows of an answer that was (or would have been) new at `born`.

    The two options are what the cache's owner allows where the answer does not say. An answer
    may forbid to be served stale: `must-revalidate`, `proxy-revalidate` and `no-cache` always
    do; `s-maxage` does (9111, 5.2.2.10) unless the same answer spells out a stale window of
    RFC 5861, which says what its sender wants more precisely.
    """
    control = meta.control
    if control.no_cache:
        return Windows(born=born, fresh=-math.inf, stale=-math.inf, rescue=-math.inf, yields=False)
    fresh = born + life.seconds
    if control.must_revalidate or control.proxy_revalidate:
        return Windows(born=born, fresh=fresh, stale=fresh, rescue=fresh, yields=False)
    bound = control.s_maxage is not None
    stale = 0.0 if bound else stale_while_revalidate
    if control.stale_while_revalidate is not None:
        stale = control.stale_while_revalidate
    rescue = 0.0 if bound else stale_if_error
    if control.stale_if_error is not None:
        rescue = control.stale_if_error
    return Windows(
        born=born, fresh=fresh, stale=fresh + stale, rescue=fresh + rescue, yields=not bound
    )

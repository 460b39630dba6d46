"""Cache-Control as both sides send it, read so that doubt always means less caching."""

from __future__ import annotations

import functools
import math

import msgspec

from escala.http.pure.fields import balanced, elements, names_in, unquoted

FOREVER = 2**31  # RFC 9111, 1.2.2: what an overflowing number of seconds stands for
_LONGEST = len(str(FOREVER))


class CacheControl(msgspec.Struct, frozen=True, kw_only=True):
    """The directives of RFC 9111 (5.2) and RFC 5861; those nobody sent are None or False.

    `private` and `no_cache` mean the whole answer; naming fields (`private="set-cookie"`) puts
    those into `withheld` instead: the rest may be stored, they may not.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    max_stale: float | None = None
    min_fresh: int | None = None
    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    only_if_cached: bool = False
    withheld: frozenset[bytes] = frozenset()


NOTHING_SAID = CacheControl()

_FLAGS = {
    b"no-store": "no_store",
    b"public": "public",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"must-understand": "must_understand",
    b"only-if-cached": "only_if_cached",
}
_QUALIFIED = {b"no-cache": "no_cache", b"private": "private"}
_SECONDS = {
    b"max-age": "max_age",
    b"s-maxage": "s_maxage",
    b"stale-while-revalidate": "stale_while_revalidate",
    b"stale-if-error": "stale_if_error",
}


@functools.lru_cache(maxsize=512)  # a service sends the same few lines over and over
def parse_cache_control(value: bytes) -> CacheControl:
    """Read the field's lines, joined with commas. Never raises: what cannot be read restricts.

    - Unknown directives are ignored, names have no case, arguments may be quoted.
    - A duplicate counts in its most restrictive form (RFC 9111, 4.2.1).
    - A number of seconds that is none (negative, with a fraction, missing, spaces around "=")
      counts as 0, so the answer is stale at once; for `min-fresh` it counts as for ever.
    - A quote that never ends may hide `no-store`, so it counts as `no-store`.
    """
    said: dict[str, int | float | bool] = {}
    withheld: set[bytes] = set()
    if not balanced(value):
        said["no_store"] = True
    for element in elements(value):
        name, equals, argument = element.partition(b"=")
        name = name.strip(b" \t").lower()
        if flag := _FLAGS.get(name):
            said[flag] = True
        elif attribute := _QUALIFIED.get(name):
            listed = names_in(unquoted(argument) or b"") if equals else ()
            if listed:
                withheld.update(listed)
            else:
                said[attribute] = True
        elif attribute := _SECONDS.get(name):
            said[attribute] = min(_seconds(argument) or 0, said.get(attribute, FOREVER))
        elif name == b"max-stale":
            limit = (_seconds(argument) or 0) if equals else math.inf
            said["max_stale"] = min(limit, said.get("max_stale", math.inf))
        elif name == b"min-fresh":
            wanted = _seconds(argument)
            wanted = FOREVER if wanted is None else wanted
            said["min_fresh"] = max(wanted, said.get("min_fresh", 0))
    return CacheControl(**said, withheld=frozenset(withheld))  # type: ignore[arg-type]


def _seconds(argument: bytes) -> int | None:
    digits = unquoted(argument)
    return None if digits is None else delta_seconds(digits)


def delta_seconds(digits: bytes) -> int | None:
    """A non-negative whole number of seconds, at most `FOREVER`; None for anything else."""
    if not digits.isdigit():
        return None
    digits = digits.lstrip(b"0")
    return min(int(digits or b"0"), FOREVER) if len(digits) <= _LONGEST else FOREVER

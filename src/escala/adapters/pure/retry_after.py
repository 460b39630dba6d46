"""How long an answer asks its client to stay away."""

from __future__ import annotations

import re

from escala.http.pure.http_date import parse_date

_SECONDS = re.compile(r"[0-9]{1,9}")


def seconds_away(value: str, *, now: float) -> float | None:
    """The seconds that `Retry-After` asks for, in either form of RFC 9110 section 10.2.3.

    `now` is the wall clock in seconds since 1970, which a date is compared with; one that has
    passed is 0. None for what is neither a number of seconds nor a date.
    """
    text = value.strip(" \t")
    if _SECONDS.fullmatch(text):
        return float(text)
    date = parse_date(text.encode("latin-1", "replace"), now=now)
    return None if date is None else max(0.0, date - now)

"""What `Retry-After` asks for, in seconds: the hint for `Retry` around any HTTP client."""

from __future__ import annotations

import math

from escala.kernel.runtime import wall

_LONGEST = 64  # of a date; the longest of RFC 9110 has 33 characters
_MOST_DIGITS = 10  # three centuries


def retry_after(value: str | bytes | None, *, now: float | None = None) -> float | None:
    """The seconds to stay away that a `Retry-After` field asks for (RFC 9110, section 10.2.3).

    Reads both forms, a number of seconds and a date; a date that is past is 0, and more seconds
    than a calendar holds are infinitely many. None for a field that is missing or says neither.

    A date is compared with `now`, seconds since 1970, by default this machine's clock. Give the
    answer's own `Date` to be safe from clocks that differ.

        retry = Retry(
            judge=lambda answer: answer.status >= 500,
            hint=lambda answer: retry_after(getattr(answer, "headers", {}).get("Retry-After")),
        )

    >>> retry_after("120"), retry_after(b"Sun, 06 Nov 1994 08:49:37 GMT"), retry_after("soon")
    (120.0, 0.0, None)
    """
    if value is None:
        return None
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip(" \t")
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0")
        return float(digits or 0) if len(digits) <= _MOST_DIGITS else math.inf
    date = _seconds_since_1970(text) if len(text) <= _LONGEST else None
    return None if date is None else max(0.0, date - (wall() if now is None else now))


def _seconds_since_1970(text: str) -> float | None:
    from email.utils import mktime_tz, parsedate_tz  # slow to load, and dates are rare

    try:
        parts = parsedate_tz(text)
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError):  # a year that no calendar has
        return None

"""HTTP dates to seconds and back: the one wall-clock format that caching cannot avoid."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DAY = f"(?:{'|'.join(_DAYS)})"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_FORMS = (
    # Sun, 06 Nov 1994 08:49:37 GMT
    re.compile(rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT".encode()),
    # Sunday, 06-Nov-94 08:49:37 GMT
    re.compile(rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT".encode()),
    # Sun Nov  6 08:49:37 1994
    re.compile(rf"{_DAY} {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})".encode()),
)
_TWO_DIGITS = 2
_HALF_CENTURY = 50


def parse_date(value: bytes, *, now: float) -> float | None:
    """Seconds since 1970 for any of the three formats of RFC 9110 (5.6.7), None for all else.

    `now` decides the century of a two-digit year: a date that seems more than fifty years ahead
    was in the past.
    """
    for form in _FORMS:
        if found := form.fullmatch(value):
            break
    else:
        return None
    year = int(found["year"])
    if len(found["year"]) == _TWO_DIGITS:
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        year -= 100 if year > this_year + _HALF_CENTURY else 0
    try:
        return datetime(
            year,
            _MONTHS.index(found["month"].decode()) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(int(found["second"]), 59) if found["second"] == b"60" else int(found["second"]),
            tzinfo=UTC,
        ).timestamp()
    except ValueError:
        return None


def format_date(seconds: float) -> bytes:
    """The preferred format, as every `Date` that we write has it."""
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04} {moment:%H:%M:%S} GMT"
    ).encode()

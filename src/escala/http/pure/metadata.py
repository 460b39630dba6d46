"""What an answer says about itself, read once, when it arrives."""

from __future__ import annotations

import math

import msgspec

from escala.http.pure.cache_control import (
    NOTHING_SAID,
    CacheControl,
    delta_seconds,
    parse_cache_control,
)
from escala.http.pure.fields import Headers
from escala.http.pure.http_date import parse_date
from escala.http.pure.vary import Names, vary_names


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a response that caching depends on.

    Dates are wall-clock seconds. `expires` is minus infinity when it cannot be read ("0" is
    usual), `date` is when the answer arrived if it has none that can be read, `vary` is None for
    `Vary: *`; `age` is None where there is none that can be read.
    """

    control: CacheControl
    age: int | None
    date: float
    dated: bool
    expires: float | None
    last_modified: float | None
    last_modified_line: bytes | None
    etag: bytes | None
    vary: Names | None
    sets_cookie: bool


def read_metadata(headers: Headers, *, arrived: float) -> Metadata:
    """Read the fields; `arrived` is the wall clock when the answer came in. Never raises."""
    control = vary = etag = modified = age = date = None
    expires: float | None = None
    sets_cookie = False
    for name, value in headers:
        if name == b"cache-control":
            control = value if control is None else control + b", " + value
        elif name == b"vary":
            vary = value if vary is None else vary + b", " + value
        elif name == b"etag":
            etag = value
        elif name == b"last-modified":
            modified = value
        elif name == b"age":
            age = value if age is None else age
        elif name == b"date":
            date = parse_date(value, now=arrived)
        elif name == b"expires":
            moment = parse_date(value, now=arrived)
            expires = min(
                -math.inf if moment is None else moment, math.inf if expires is None else expires
            )
        elif name == b"set-cookie":
            sets_cookie = True
    last_modified = None if modified is None else parse_date(modified, now=arrived)
    return Metadata(
        control=NOTHING_SAID if control is None else parse_cache_control(control),
        age=_age(age),
        date=arrived if date is None else date,
        dated=date is not None,
        expires=expires,
        last_modified=last_modified,
        last_modified_line=modified if last_modified is not None else None,
        etag=etag,
        vary=vary_names(vary),
        sets_cookie=sets_cookie,
    )


def _age(value: bytes | None) -> int | None:
    """The first member of the field; one that is no number of seconds is ignored (9111, 5.1)."""
    return None if value is None else delta_seconds(value.partition(b",")[0].strip(b" \t"))

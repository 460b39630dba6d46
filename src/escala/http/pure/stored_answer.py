"""One stored answer: everything a hit needs, worked out when it was stored."""

from __future__ import annotations

import math

from escala.http.pure.admission import Admission
from escala.http.pure.asked import Asked
from escala.http.pure.fields import Headers, end_to_end
from escala.http.pure.freshness import Windows
from escala.http.pure.http_date import format_date
from escala.http.pure.storability import may_serve_the_authorized, withheld
from escala.http.pure.validators import headers_of_304, still_valid
from escala.http.pure.vary import Names, Values, vary_values

# Measured on CPython 3.11: the object with its slots and times, its place in the two indexes,
# and for each header line a tuple and two bytes objects.
OVERHEAD = 640
LINE_OVERHEAD = 136


class StoredAnswer:
    """What a cache keeps of one answer. Nothing of it changes but its windows.

    `known_at` is when it was asked for, at its origin or where caches share answers: all that
    had changed by then is in it. `size` is the memory it is charged for: key, headers, body and a
    fixed overhead for the objects that hold them. `for_the_authorized` and `for_the_known` say
    whether requests with Authorization, or with a Cookie, may be given it.
    """

    __slots__ = (
        "body",
        "etag",
        "for_the_authorized",
        "for_the_known",
        "headers",
        "headers_304",
        "key",
        "known_at",
        "last_modified",
        "modified",
        "pause_until",
        "size",
        "status",
        "values",
        "vary",
        "windows",
    )

    def __init__(
        self,
        key: bytes,
        status: int,
        headers: Headers,
        body: bytes,
        *,
        asked_with: Headers,
        admission: Admission,
        known_at: float = -math.inf,
    ) -> None:
        meta = admission.meta
        lines = end_to_end(headers, without={*withheld(meta), b"age", b"content-length"})
        if not meta.dated:  # RFC 9110, 6.6.1: who stores an answer without a date gives it one
            lines = [line for line in lines if line[0] != b"date"]
            lines.append((b"date", format_date(meta.date)))
        self.key, self.status, self.headers, self.body = key, status, lines, body
        self.etag, self.last_modified = meta.etag, meta.last_modified_line
        self.modified = meta.date if meta.last_modified is None else meta.last_modified
        self.vary: Names = meta.vary or ()
        self.values: Values = vary_values(self.vary, asked_with)
        self.windows = admission.windows
        self.known_at = known_at
        self.for_the_authorized = may_serve_the_authorized(meta)
        self.for_the_known = (
            not admission.life.guessed or meta.control.public or meta.control.no_cache
        )
        self.complete()

    def complete(self) -> None:
        """Work out what follows from the rest."""
        self.headers_304 = headers_of_304(self.headers)
        self.pause_until = -math.inf
        self.size = (
            OVERHEAD
            + len(self.key)
            + len(self.body)
            + sum(len(name) + len(value) + LINE_OVERHEAD for name, value in self.headers)
            + sum(len(value or b"") + LINE_OVERHEAD for value in self.values)
        )

    def matches(self, asked: Asked, headers: Headers) -> bool:
        """Whether it may answer a request with these headers, its freshness aside."""
        if asked.authorization and not self.for_the_authorized:
            return False
        if asked.cookie and not self.for_the_known:
            return False
        return not self.vary or vary_values(self.vary, headers) == self.values

    def known_by(self, asked: Asked, *, now: float) -> bool:
        """Whether the client has it already and needs only a 304; `now` is the wall clock."""
        return self.status // 100 == 2 and still_valid(  # noqa: PLR2004  2xx, RFC 9110, 13.2.1
            asked, etag=self.etag, modified=self.modified, now=now
        )

    @property
    def verifiable(self) -> bool:
        """Whether its origin can be asked if it has changed."""
        return self.etag is not None or self.last_modified is not None

    @property
    def useful_until(self) -> float:
        """Until when it may answer a request, or be confirmed."""
        spans = self.windows
        return math.inf if self.verifiable else max(spans.fresh, spans.stale, spans.rescue)

    def doubt(self) -> None:
        """It may be outdated: ask before each use, and give it unasked only as a last resort."""
        old = self.windows
        self.windows = Windows(
            born=old.born, fresh=-math.inf, stale=-math.inf, rescue=old.rescue, yields=False
        )
        self.pause_until = -math.inf

"""What a request asks of a cache, read in one pass over its headers."""

from __future__ import annotations

import msgspec

from escala.http.pure.cache_control import NOTHING_SAID, CacheControl, parse_cache_control
from escala.http.pure.fields import Headers


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a request that change what a cache may do.

    `origin_only` is True for a request that only the origin may answer: a part of a body
    (`Range`: parts are neither stored nor cut here), or a condition that protects a change
    (`If-Match`, `If-Unmodified-Since`; RFC 9111, 4.3.2).
    """

    control: CacheControl = NOTHING_SAID
    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None
    authorization: bool = False
    cookie: bool = False
    origin_only: bool = False

    @property
    def conditional(self) -> bool:
        """Whether a 304 may answer it."""
        return self.if_none_match is not None or self.if_modified_since is not None

    @property
    def joins(self) -> bool:
        """Whether a load that another request began before may answer it, and its own others."""
        control = self.control
        return not (
            self.authorization or control.no_store or control.no_cache or control.max_age == 0
        )


NOTHING_ASKED = Asked()

_READ = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"cookie",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-unmodified-since",
        b"range",
    }
)
_ORIGIN_ONLY = frozenset({b"if-match", b"if-unmodified-since", b"range"})


def read_request(headers: Headers) -> Asked:
    """Read the fields; a request without any of them shares one object, so that a hit is cheap."""
    found = [line for line in headers if line[0] in _READ]
    if not found:
        return NOTHING_ASKED
    lines: dict[bytes, bytes] = {}
    for name, value in found:
        lines[name] = lines[name] + b", " + value if name in lines else value
    control = lines.get(b"cache-control")
    return Asked(
        control=NOTHING_SAID if control is None else parse_cache_control(control),
        if_none_match=lines.get(b"if-none-match"),
        if_modified_since=lines.get(b"if-modified-since"),
        authorization=b"authorization" in lines,
        cookie=b"cookie" in lines,
        origin_only=not _ORIGIN_ONLY.isdisjoint(lines),
    )

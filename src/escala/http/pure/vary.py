"""One URL, several answers: which request headers an answer depends on, and their values."""

from __future__ import annotations

from typing import TypeAlias

from escala.http.pure.fields import Headers, elements, field, names_in
from escala.http.pure.forwarding import ORIGIN

Names: TypeAlias = tuple[bytes, ...]
Values: TypeAlias = tuple[bytes | None, ...]

_LISTS = frozenset({b"accept", b"accept-charset", b"accept-encoding", b"accept-language"})
_NO_CASE = _LISTS - {b"accept"}
_NO_ORDER = frozenset({b"accept-charset", b"accept-encoding"})


def vary_names(value: bytes | None) -> Names | None:
    """The field names in `Vary`, sorted; None for `*`, which no request ever matches.

    Nor does one that names a forwarding field: we write those ourselves for each client, so what
    the request came with says nothing of what the target saw.
    """
    if value is None:
        return ()
    names = names_in(value)
    return None if b"*" in names or not ORIGIN.isdisjoint(names) else tuple(sorted(names))


def vary_values(names: Names, headers: Headers) -> Values:
    """What a request says in these fields, in a form in which equal meanings are equal bytes.

    RFC 9111 (4.1) allows joining lines, and for a field whose definition we know, what that
    calls the same. So `gzip,BR` is `br, gzip` for Accept-Encoding, where neither case nor order
    counts; the order of languages is kept, since some servers read a preference into it. A
    missing field (None) matches only a missing field.
    """
    return tuple([_normal(name, field(headers, name)) for name in names])


def _normal(name: bytes, value: bytes | None) -> bytes | None:
    if value is None:
        return None
    if name not in _LISTS:
        return value
    parts = elements(value)
    if name in _NO_CASE:
        parts = [b"".join(part.lower().split()) for part in parts]
    if name in _NO_ORDER:
        parts.sort()
    return b",".join(parts)

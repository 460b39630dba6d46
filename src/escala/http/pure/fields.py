"""Header fields as a cache reads them: several lines are one list, and quotes hide commas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]  # names lower-cased, in the order of arrival

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Possessive quantifiers: a hostile value costs one pass, never a backtrack.
_ELEMENT = re.compile(rb'(?:[^,"]|"(?:[^"\\]|\\.)*+"?)++', re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


def field(headers: Headers, name: bytes) -> bytes | None:
    """Every line of one field joined with commas (RFC 9110, 5.2), or None when there is none."""
    lines = [value for key, value in headers if key == name]
    if not lines:
        return None
    return lines[0] if len(lines) == 1 else b", ".join(lines)


def elements(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, without empty ones; quoted commas do not count."""
    return [part for found in _ELEMENT.findall(value) if (part := found.strip(b" \t"))]


def balanced(value: bytes) -> bool:
    """Whether every quoted string in `value` ends; one that does not hides what follows it."""
    return b'"' not in _QUOTED.sub(b"", value)


def unquoted(argument: bytes) -> bytes | None:
    """The content of a token or a quoted string, or None when it is neither."""
    if quoted := _QUOTED.fullmatch(argument):
        return _ESCAPE.sub(rb"\1", quoted[1])
    return argument if _TOKEN.fullmatch(argument) else None


def names_in(value: bytes) -> tuple[bytes, ...]:
    """The field names that a list such as `Vary` or `Connection` holds, lower-cased."""
    return tuple(dict.fromkeys(part.lower() for part in elements(value)))


def end_to_end(headers: Headers, *, without: Iterable[bytes] = ()) -> list[tuple[bytes, bytes]]:
    """What may be stored: no hop-by-hop field, none that `Connection` lists, none of `without`."""
    unwanted = HOP_BY_HOP.union(without)
    if connection := field(headers, b"connection"):
        unwanted = unwanted.union(names_in(connection))
    return [line for line in headers if line[0] not in unwanted]

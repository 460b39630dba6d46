"""What passes between a cache and an HTTP origin: URLs, and how long an answer is good for."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlsplit, urlunsplit

from escala.kernel.wrong_value import WrongValue

FIELD = "{key}"
_EXPECTED = (
    "an http URL with one {key} in its path or query, such as 'https://origin.example/{key}'"
)
_LONGEST = 2**31  # seconds; more counts as this much (RFC 9111, 1.2.2)
_UNKEPT = frozenset({"no-store", "no-cache", "private"})


def url_template(text: object) -> str:
    """A URL with a place for the key; `WrongValue` if it is none."""
    if not isinstance(text, str):
        raise WrongValue(_EXPECTED, text)
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise WrongValue(_EXPECTED, text) from None
    inside = parts.path.count(FIELD) + parts.query.count(FIELD)
    plain = text.isascii() and text.isprintable() and " " not in text and not parts.fragment
    if parts.scheme not in {"http", "https"} or not host or not plain:
        raise WrongValue(_EXPECTED, text)
    if parts.username is not None:  # what was found is not shown: it may be a password
        raise WrongValue(f"{_EXPECTED}, and no user in it: that is for `headers`", "one")
    if inside != 1 or text.count(FIELD) != 1:
        raise WrongValue(_EXPECTED, text)
    return text


def url_of(template: str, key: str) -> str:
    """The URL of a key. Raises `ValueError` for a key that no URL can hold.

    >>> url_of("https://origin.example/{key}", "page:a/b c")
    'https://origin.example/page%3Aa%2Fb%20c'
    """
    before, _, after = template.partition(FIELD)
    # Such a segment would lead to another place, however it is written.
    alone = before.endswith("/") and (not after or after[0] in "/?") and "?" not in before
    if not key or (alone and key in {".", ".."}):
        raise ValueError(f"no URL of an origin can hold the key {key!r}")
    return before + quote(key, safe="") + after


def root_of(template: str) -> str:
    """The URL of the whole origin."""
    parts = urlsplit(template)
    return urlunsplit((parts.scheme, parts.netloc, "/", "", ""))


def fresh_of(cache_control: Iterable[str], age: str | None) -> int | None:
    """For how many seconds from now an answer is fresh; 0: not to be kept; None: it says nothing.

    What a shared cache goes by: `s-maxage`, else `max-age`, less the age that it has already.
    What cannot be read counts as over, and of several values the shortest.

    >>> fresh_of(["public, max-age=60"], "20"), fresh_of(["no-store"], None), fresh_of([], None)
    (40, 0, None)
    """
    said: dict[str, list[int]] = {}
    for directive in ",".join(cache_control).split(","):
        name, _, value = directive.strip().partition("=")
        name = name.strip().lower()
        if name in _UNKEPT:
            return 0
        said.setdefault(name, []).append(_seconds(value))
    values = said.get("s-maxage") or said.get("max-age")
    return None if values is None else max(0, min(values) - _seconds(age or "0"))


def _seconds(text: str) -> int:
    digits = text.strip().strip('"')
    if not (digits.isascii() and digits.isdecimal()):
        return 0
    return min(int(digits[:20]), _LONGEST)

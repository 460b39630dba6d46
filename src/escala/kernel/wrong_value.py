"""One value that is not what was expected: the same sentence from Python, YAML and environment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_LONGEST = 60
_LOGIN = re.compile(r"(?<=://).*@")  # greedy: a password may hold anything, "@" and "/" too
_SECRET = re.compile(r"(?<=[?&])(\w*(?:password|token|secret))=[^&]*", re.IGNORECASE)


class WrongValue(ValueError):
    """A value was refused; says what was expected and what was found.

    `expected` and `found` stay apart, because the source of a value knows best how it was
    spelled: a value that came from `${NAME}` is reported by that name, never by its secret.
    """

    def __init__(self, expected: str, found: object) -> None:
        self.expected, self.found = expected, shown(found)
        super().__init__(sentence(self.expected, self.found))


def sentence(expected: str, found: str) -> str:
    """Join both halves; a list of examples is set off from what was found by a semicolon."""
    return f"expected {expected}{';' if ',' in expected else ','} found {found}"


def shown(value: object) -> str:
    """A value as an error may print it: short, on one line, without the password of a URL."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list" if value else "an empty list"
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number out of range"
    if isinstance(value, str):
        text = without_password(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def without_password(text: str) -> str:
    """The text of a URL as anyone may read it: without login, password and token."""
    return _SECRET.sub(r"\1=***", _LOGIN.sub("***@", text))


def not_among(noun: str, known: Iterable[str], found: str) -> str:
    """The sentence for a name that is not one of the known ones, with the likely one if any."""
    from difflib import get_close_matches  # only errors need it

    names = sorted(known)
    likely = get_close_matches(found.lower(), names, n=1, cutoff=0.6)
    hint = f" (did you mean {likely[0]!r}?)" if likely else ""
    listed = ", ".join(names) or "(there are none)"
    return f"expected one of the {noun} {listed}; found {shown(found)}{hint}"

"""PostgreSQL's `synchronous_standby_names`, read as PostgreSQL reads it."""

from __future__ import annotations

import re
from typing import NamedTuple

from escala.errors import ConfigError
from escala.kernel.wrong_value import shown

_TOKEN = re.compile(
    r"""[ \t\n\r\f\v]*(?:
        (?P<quoted>"(?:[^"]|"")*") | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
        | (?P<number>[0-9]+) | (?P<sign>[*,()]) | (?P<junk>[^ \t\n\r\f\v]) | \Z)""",
    re.VERBOSE | re.ASCII,
)
ANYONE = "*"
_OPEN, _CLOSE, _COMMA = ("sign", "("), ("sign", ")"), ("sign", ",")


class SynchronousNames(NamedTuple):
    """`copies` of the standbys with these names have a commit before it is acknowledged.

    With `first` those count that come first in the list and are connected, else whichever are
    quickest. Names are in lower case, for PostgreSQL compares them without regard to it; "*" is
    every standby.
    """

    first: bool
    copies: int
    names: tuple[str, ...]


def read_names(text: str) -> SynchronousNames | None:
    """What the setting says; None where it asks for no standby. Raises `ConfigError`.

    >>> read_names('ANY 1 (n1, "n 2")')
    SynchronousNames(first=False, copies=1, names=('n1', 'n 2'))
    >>> read_names("n1, n2")
    SynchronousNames(first=True, copies=1, names=('n1', 'n2'))
    """
    if not text:
        return None
    words = _words(text)
    if not words:
        raise _wrong(text)
    kind, head = words[0]
    copies = 1
    if kind == "method":
        words = words[1:]
    if kind == "method" or words[1:2] == [_OPEN]:
        if [kind for kind, _ in words[:1]] != ["number"] or words[1:2] != [_OPEN]:
            raise _wrong(text)
        copies = int(words[0][1])
        if words[-1] != _CLOSE or copies == 0:
            raise _wrong(text)
        words = words[2:-1]
    names, commas = words[::2], words[1::2]
    if len(names) != len(commas) + 1 or any(kind not in {"name", "number"} for kind, _ in names):
        raise _wrong(text)
    if any(word != _COMMA for word in commas):
        raise _wrong(text)
    return SynchronousNames(
        (kind, head) != ("method", "any"), copies, tuple(name for _, name in names)
    )


def quoted(name: str) -> str:
    """A name as the setting wants it: in quotes unless it is a plain word.

    >>> quoted("n1"), quoted("eu-1"), quoted("any")
    ('n1', '"eu-1"', '"any"')
    """
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", name) and name.lower() not in {"any", "first"}
    return name if plain else '"' + name.replace('"', '""') + '"'


def _words(text: str) -> list[tuple[str, str]]:
    words: list[tuple[str, str]] = []
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind is None:
            break
        word = found[kind]
        if kind == "quoted":
            kind, word = "name", word[1:-1].replace('""', '"').lower()
        elif word == ANYONE:
            kind = "name"
        elif kind == "word":
            word = word.lower()
            kind = "method" if word in {"any", "first"} else "name"
        words.append((kind, word))
    return words


def _wrong(text: str) -> ConfigError:
    return ConfigError(
        "synchronous_standby_names: expected such as 'ANY 1 (n1, n2)', found " + shown(text)
    )

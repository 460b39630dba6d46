"""What a store's URL says after the "?": each parameter belongs to someone, and is said once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Self
from urllib.parse import unquote_plus

from escala.errors import ConfigError
from escala.kernel.wrong_value import not_among, sentence, shown


class StoreUrl(str):
    """A URL out of which some parameters were taken; it remembers which those were.

    Whoever reads the rest can then say what all of them are that the whole may hold.
    """

    __slots__ = ("taken",)
    taken: frozenset[str]

    def __new__(cls, text: str, taken: Iterable[str] = ()) -> Self:
        """The text, and the names of what was taken out of it."""
        made = super().__new__(cls, text)
        made.taken = frozenset(taken)
        return made


def taken_out(url: str, ours: Collection[str]) -> tuple[StoreUrl, dict[str, str]]:
    """The URL without our parameters, otherwise as it was, and their values.

    Raises `ConfigError` for one that is there twice.

    >>> taken_out("redis://localhost/0?timeout=20ms&ssl_cert_reqs=none", {"timeout"})
    ('redis://localhost/0?ssl_cert_reqs=none', {'timeout': '20ms'})
    """
    base, mark, _ = url.partition("?")
    found: dict[str, str] = {}
    others = []
    for name, value, part in _parts(url):
        if name not in ours:
            others.append(part)
        elif name in found:
            raise twice(name)
        else:
            found[name] = value
    before = url.taken if isinstance(url, StoreUrl) else ()
    rest = base + mark * bool(others) + "&".join(others)
    return StoreUrl(rest, {*before, *ours}), found


def checked(url: str, known: Collection[str]) -> dict[str, str]:
    """The parameters of a URL, all of which must be known. Raises `ConfigError`."""
    found: dict[str, str] = {}
    for name, value, _ in _parts(url):
        if name not in known:
            raise ConfigError(_unknown(url, name, known))
        if name in found:
            raise twice(name)
        found[name] = value
    return found


def whole(name: str, text: str, least: int, most: int) -> int:
    """A whole number within bounds. Raises `ConfigError`."""
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not digits or not least <= int(text) <= most:
        expected = f"a whole number from {least} to {most}"
        raise ConfigError(f"{name}: {sentence(expected, shown(text))}")
    return int(text)


def twice(name: str) -> ConfigError:
    """What to raise for a parameter that is said again."""
    return ConfigError(f"{name}: {sentence('it once', 'it twice')}")


def _parts(url: str) -> list[tuple[str, str, str]]:
    """Name and value of each parameter, decoded, and how both were written."""
    _, _, query = url.partition("?")
    parts = [(*part.partition("="), part) for part in query.split("&") if part]
    return [(unquote_plus(name), unquote_plus(value), part) for name, _, value, part in parts]


def _unknown(url: str, name: str, known: Collection[str]) -> str:
    """Without what was found where it may be the end of a password with a "?" in it."""
    taken = url.taken if isinstance(url, StoreUrl) else frozenset()
    everyone = sorted({*known, *taken})
    if "@" not in url.partition("?")[2]:
        return not_among("parameters", everyone, name)
    listed = ", ".join(everyone) or "(there are none)"
    return (
        f"expected after the '?' parameters among {listed}; found another, and an '@': write "
        "'?' as %3F and '@' as %40 where a password holds them"
    )

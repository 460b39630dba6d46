"""Parameters of a store's URL that are for us, and not for the engine's driver."""

from __future__ import annotations

from collections.abc import Container
from urllib.parse import unquote_plus


def taken_out(url: str, ours: Container[str]) -> tuple[str, dict[str, str]]:
    """The URL without our parameters, otherwise as it was, and their values.

    >>> taken_out("redis://localhost/0?timeout=20ms&ssl_cert_reqs=none", {"timeout"})
    ('redis://localhost/0?ssl_cert_reqs=none', {'timeout': '20ms'})
    """
    base, _, query = url.partition("?")
    found: dict[str, str] = {}
    others = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if unquote_plus(name) in ours:
            found[unquote_plus(name)] = unquote_plus(value)
        else:
            others.append(part)
    if not found:
        return url, found
    rest = "&".join(others)
    return f"{base}?{rest}" if rest else base, found

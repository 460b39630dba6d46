"""How what a client has seen of a database travels over HTTP."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

COOKIE = "escala_seen"
HEADER = "Escala-Seen"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
KEPT = 300
"""Seconds; long after that every replica that is read has what was seen."""


def cookie_in(fields: str) -> str | None:
    """The token among a request's cookies.

    >>> cookie_in("theme=dark; escala_seen=AQAA")
    'AQAA'
    """
    try:
        found = SimpleCookie(fields).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def set_cookie(token: str, *, secure: bool) -> str:
    """The value of a `Set-Cookie` field.

    >>> set_cookie("AQAA", secure=True)
    'escala_seen=AQAA; Max-Age=300; Path=/; HttpOnly; SameSite=Lax; Secure'
    """
    end = "; Secure" if secure else ""
    return f"{COOKIE}={token}; Max-Age={KEPT}; Path=/; HttpOnly; SameSite=Lax{end}"

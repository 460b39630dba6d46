"""May a shared cache keep this answer? RFC 9111 (3), with the reason when it may not."""

from __future__ import annotations

from escala.http.pure.asked import Asked
from escala.http.pure.freshness import CACHEABLE_BY_DEFAULT, Lifetime
from escala.http.pure.metadata import Metadata

# Statuses whose caching rules we follow to the letter, which is what `must-understand` asks.
UNDERSTOOD = CACHEABLE_BY_DEFAULT | {302, 303, 307, 400, 403, 406, 409, 421, 451, 500, 502, 503}
_FINAL = 200
_PARTS = {206, 304}  # of an answer, not a whole one


def refusal(
    method: str, asked: Asked, status: int, meta: Metadata, life: Lifetime, *, usable: bool
) -> str | None:
    """Why the answer is not stored, or None when it is.

    Three rules are stricter than the RFC has to be, since the price of a mistake is one
    person's page on another's screen:

    - **Set-Cookie** means an answer made for one client, so it is stored only when it also says
      `public`, and then without its cookies (see `withheld`): a replayed session cookie would
      log strangers into one account.
    - **A guess is not given to people who are known.** When an answer states no freshness and
      the request had a `Cookie`, there is nothing that says the page is not about that person.
    - A `HEAD` answer is not stored: without a body it can answer no `GET`.

    `usable` says that there is a time, fresh or in a stale window, in which the stored answer
    could be given without asking its origin.
    """
    control = meta.control
    guessed = life.guessed and not control.public
    rules = (
        (method != "GET", f"the method is {method}"),
        (status < _FINAL or status in _PARTS, f"the status is {status}"),
        (
            control.must_understand and status not in UNDERSTOOD,
            f"must-understand, and {status} is not understood here",
        ),
        (control.no_store and not control.must_understand, "the answer says no-store"),
        (asked.control.no_store, "the request says no-store"),
        (control.private, "the answer is private"),
        (
            asked.authorization and not may_serve_the_authorized(meta),
            "the request has Authorization, and the answer is not said to be for all",
        ),
        (meta.vary is None, "Vary: * matches no request"),
        (meta.sets_cookie and not control.public, "the answer sets a cookie, and is not public"),
        (
            guessed and status not in CACHEABLE_BY_DEFAULT,
            f"{status} is kept only with stated freshness",
        ),
        (
            guessed and asked.cookie and not control.no_cache,
            "the request has a Cookie, and the answer states no freshness",
        ),
        (
            not usable and meta.etag is None and meta.last_modified is None,
            "it is stale at once and cannot be verified",
        ),
    )
    return next((why for applies, why in rules if applies), None)


def may_serve_the_authorized(meta: Metadata) -> bool:
    """Whether the answer may be shared between requests with Authorization (RFC 9111, 3.5)."""
    control = meta.control
    return control.public or control.must_revalidate or control.s_maxage is not None


def withheld(meta: Metadata) -> frozenset[bytes]:
    """The fields that are not stored though the answer is: named by it, or cookies."""
    return meta.control.withheld | {b"set-cookie"}

"""Translate the URLs of any log into pages of the shop, by popularity.

The most popular URL of the log becomes the most popular page of the shop, and so on, so the
shape of the traffic, which is what a cache and a limiter feel, stays that of the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

PRODUCTS = 4000  # as many as the shop's seed makes
CATEGORIES = 60

# What ranks 1 to 8 are, and again from 9: five of eight pages are products.
_CYCLE = (
    "product",
    "category",
    "product",
    "search",
    "product",
    "stock",
    "product",
    "product",
)
_THINGS = (
    *("kettle", "lamp", "desk", "chair", "clock", "radio", "knife", "bowl", "rug", "shelf"),
    *("mirror", "basket", "stool", "jug", "vase"),
)
_TRAITS = (
    *("small", "tall", "folding", "quiet", "heavy", "light", "round", "square", "brushed"),
    *("oiled", "woven", "striped", "plain"),
)


def ranks(urls: Iterable[str]) -> dict[str, int]:
    """Each URL's rank by popularity, from 1; equals in the order in which they first came."""
    return {url: rank for rank, (url, _) in enumerate(Counter(urls).most_common(), 1)}


def page(rank: int) -> tuple[str, str]:
    """What kind of page a rank is, and its path."""
    lap, place = divmod(rank - 1, len(_CYCLE))
    kind = _CYCLE[place]
    if kind == "search":
        thing, trait = _THINGS[lap % len(_THINGS)], _TRAITS[lap // len(_THINGS) % len(_TRAITS)]
        return kind, f"/api/search?q={thing}+{trait}" if lap % 3 else f"/api/search?q={thing}"
    if kind == "category":
        return kind, f"/api/category/{1 + lap % CATEGORIES}"
    return kind, f"/api/{kind}/{product(rank)}"


def product(rank: int) -> int:
    """The product that a rank stands for, also when the rank is ordered instead of looked at."""
    return 1 + (rank - 1) % PRODUCTS

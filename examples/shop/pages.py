"""Pages that three processes read from the database once, and that no price change leaves wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from escala import Cache
from shop.answer import Answer

Load = Callable[[str, str], Awaitable[Answer]]
_OK = 200


class Pages:
    """Pages by kind and number (or words); without a file every one is read anew."""

    def __init__(self, load: Load, file: Path | None) -> None:
        self.asked = self.read = 0

        async def read(kind: str, what: str) -> Answer:
            self.read += 1
            return await load(kind, what)

        self._page, self._cache = read, None
        if file is not None:
            # The processes share one level and keep no copies of their own: a process hears of
            # another's change some milliseconds late. So what it was reading when the price
            # changed may be given for as long, but nothing that is kept shows an old price.
            l2 = f"sqlite:///{quote(str(file.absolute()))}"
            self._cache = Cache("shop", l1=None, l2=l2, ttl="1m", wait="200ms")
            self._page = self._cache.memo(
                "{kind}:{what}",
                tags=lambda page: [_tag(number) for number in page.shows],
                ttl=lambda page: None if page.status == _OK else 0,
            )(read)

    async def get(self, kind: str, what: str) -> Answer:
        """A page; from the cache, if it was read before and all that it shows is still so."""
        self.asked += 1
        return await self._page(kind, what)

    async def forget(self, number: int) -> bool:
        """A product has changed: never show the pages that it is on again. False: try again."""
        return self._cache is None or await self._cache.adelete(tag=_tag(number))

    def close(self) -> None:
        """Close the file."""
        if self._cache is not None:
            self._cache.close()


def _tag(number: int) -> str:
    return f"product:{number}"

"""An HTTP origin or CDN as the third level of a cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import msgspec

from escala.caching.http_call import HttpAnswer, HttpCall
from escala.caching.loaded import Loaded
from escala.caching.origin import Purge
from escala.caching.pure.lifetime import Lifetime
from escala.caching.pure.origin_words import fresh_of, root_of, url_of, url_template
from escala.errors import ConfigError, OriginFailed
from escala.kernel.config import options
from escala.kernel.runtime import Runtime
from escala.kernel.units import PositiveDuration, PositiveSize
from escala.kernel.wrong_value import WrongValue, sentence, shown

Decode: TypeAlias = "Literal['json', 'bytes'] | Callable[[bytes], Any]"
_ABSENT = frozenset({404, 410})
_GOOD = frozenset({200, 203})
_SUCCESS = range(200, 300)


class HttpOriginOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long and how large an answer of an origin may be."""

    timeout: PositiveDuration = PositiveDuration("5s")
    """The longest that one request takes, with its answer."""
    max_size: PositiveSize = PositiveSize("16MiB")
    """Larger answers are refused."""


class HttpOrigin:
    """Values by key from an HTTP server: `Cache(l3=HttpOrigin("https://origin.example/{key}"))`.

    Needs httpx: `pip install 'escala[http]'`. One object serves threads and tasks.

    - `url`: where a key is; in place of `{key}` comes the key, percent-encoded.
    - `decode`: what becomes of an answer's body: "json", "bytes", or what a function makes of it.
    - `timeout`, `max_size`: the longest that a request takes with its answer, 5 s, never beyond
      the deadline around the call; and the largest answer, 16 MiB. Answers are not compressed.
    - `headers`: sent with each request, such as an authorization.
    - `purge`: the method by which it is told to forget a key's URL, such as "PURGE"; without one
      it is told nothing: then it has to be the source itself.
    - `tags`: the header in which an answer lists its tags, such as "Surrogate-Key"; the same
      header says which tags are to be purged, sent to the root of the URL.

    200 and 203 are values, 404 and 410 say that there is none (see `negative_ttl`), and anything
    else is `OriginFailed`, for which a stale value may stand in (`stale_if_error`). How long a
    value is fresh the answer says by `Cache-Control` (`s-maxage`, `max-age`; `no-store`,
    `no-cache` and `private`: not kept) less its `Age`, and if it does not, the cache's `ttl`.

    >>> from escala import Cache
    >>> pages = Cache("pages", l3=HttpOrigin("https://origin.example/{key}"), stale_if_error="1h")
    """

    Options = HttpOriginOptions

    def __init__(
        self,
        url: str,
        *,
        decode: Decode = "json",
        timeout: float | str = "5s",
        max_size: int | str = "16MiB",
        headers: Mapping[str, str] | None = None,
        purge: str | None = None,
        tags: str | None = None,
    ) -> None:
        self.options: HttpOriginOptions = options(
            self.Options, {"timeout": timeout, "max_size": max_size}, where="HttpOrigin"
        )
        try:
            self._url = url_template(url)
        except WrongValue as error:
            raise ConfigError(f"HttpOrigin: url: {error}") from None
        if not callable(decode) and decode not in {"json", "bytes"}:
            expected = sentence("'json', 'bytes' or a function", shown(decode))
            raise ConfigError(f"HttpOrigin: decode: {expected}")
        if purge is not None and not _is_token(purge):
            expected = sentence("an HTTP method such as 'PURGE'", shown(purge))
            raise ConfigError(f"HttpOrigin: purge: {expected}")
        if tags is not None and not _is_token(tags):
            expected = sentence("the name of a header such as 'Surrogate-Key'", shown(tags))
            raise ConfigError(f"HttpOrigin: tags: {expected}")
        self._decode, self._purge, self._tags = decode, purge, tags
        self._call = HttpCall(
            timeout=self.options.timeout,
            max_size=int(self.options.max_size),
            headers=headers or {},
        )

    def __repr__(self) -> str:
        return f"HttpOrigin({self._url.partition('?')[0]!r})"

    async def fetch(self, key: str, runtime: Runtime) -> Loaded[Any] | None:
        """See `Origin.fetch`. Raises `OriginFailed`, `DeadlineExceeded`, `ValueError`."""
        answer = await self._call.send("GET", url_of(self._url, key), {}, runtime)
        if answer.status in _ABSENT:
            return None
        if answer.status not in _GOOD:
            raise OriginFailed(f"{self!r}: {key!r}: expected a value, found status {answer.status}")
        fresh = fresh_of(answer.cache_control, answer.headers.get("age"))
        ttl = None if fresh is None else Lifetime(f"{fresh}s±0%") if fresh > 0 else 0
        return Loaded(self._value(key, answer), ttl=ttl, tags=self._tags_of(answer))

    async def purge(self, purges: Sequence[Purge], runtime: Runtime) -> None:
        """See `Origin.purge`. Raises `OriginFailed`, `DeadlineExceeded`."""
        if self._purge is None:
            return
        tags = [each.name for each in purges if each.kind == "tag"]
        for each in purges:
            if each.kind == "key":
                await self._forget(url_of(self._url, each.name), {}, runtime)
        if tags and self._tags is not None:
            listed = " ".join(tags)
            if (
                not listed.isascii()
                or not listed.isprintable()
                or len(listed.split(" ")) > len(tags)
            ):
                raise OriginFailed(
                    f"{self!r}: expected tags that a header can hold, found {tags!r}"
                )
            await self._forget(root_of(self._url), {self._tags: listed}, runtime)
        for each in purges:
            if each.kind != "key" and (each.kind != "tag" or self._tags is None):
                what = each.kind if each.kind == "all" else f"a {each.kind}"
                raise OriginFailed(
                    f"{self!r}: it can be told of keys"
                    f"{'' if self._tags is None else ' and tags'}, and not of {what}: "
                    "the levels before it have forgotten, and this one has not"
                )

    async def _forget(self, url: str, headers: Mapping[str, str], runtime: Runtime) -> None:
        method = self._purge or ""
        answer = await self._call.send(method, url, headers, runtime)
        if answer.status not in _SUCCESS and answer.status not in _ABSENT:
            raise OriginFailed(f"{self!r}: {method}: expected success, found {answer.status}")

    def _value(self, key: str, answer: HttpAnswer) -> Any:  # noqa: ANN401
        try:
            if self._decode == "bytes":
                return answer.body
            if callable(self._decode):
                return self._decode(answer.body)
            return msgspec.json.decode(answer.body)
        except Exception as error:
            raise OriginFailed(f"{self!r}: {key!r}: the answer is no value: {error}") from error

    def _tags_of(self, answer: HttpAnswer) -> list[str]:
        if self._tags is None:
            return []
        return answer.headers.get(self._tags, "").replace(",", " ").split()

    def close(self) -> None:
        """Close its connections; it can be used on, with new ones."""
        self._call.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, before it ends."""
        await self._call.aclose()

    def __enter__(self) -> Self:
        """A block that closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    async def __aenter__(self) -> Self:
        """A block that closes the connections of its event loop."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close them."""
        await self.aclose()


def _is_token(text: object) -> bool:
    return (
        isinstance(text, str)
        and text.isascii()
        and text.replace("-", "").replace("_", "").isalnum()
    )

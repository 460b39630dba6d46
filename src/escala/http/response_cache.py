"""Answer from memory what does not need the service: RFC 9111 for a whole stack."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ClassVar, Self, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from escala.caching.second_level import SecondLevel
from escala.caching.value_store import open_value_store
from escala.errors import ConfigError, Rejected
from escala.http.answer_ear import AnswerEar
from escala.http.cache_changes import CacheChanges
from escala.http.cache_leader import CacheLeader
from escala.http.cache_reader import CacheReader
from escala.http.cache_replies import Replies, Visit
from escala.http.message import HttpRequest, Response
from escala.http.pure.admission import Terms
from escala.http.pure.asked import read_request
from escala.http.pure.cache_key import cache_key
from escala.http.pure.fields import Headers
from escala.http.pure.invalidation import Effect, affected, effect
from escala.http.second_answers import SecondAnswers
from escala.http.shared_answers import SharedAnswers
from escala.kernel.config import options
from escala.kernel.context import current_request
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime, colours, drive, wall
from escala.kernel.units import Duration, PositiveDuration, PositiveSize
from escala.kernel.wrong_value import without_password
from escala.resilience.spelling import spelled

T = TypeVar("T")

_READS = {"GET", "HEAD"}


class ResponseCache(Policy):
    """Give stored answers while they are fresh, and let one request load for all who want the same.

    A shared cache as RFC 9111 has it, with the stale windows of RFC 5861: it stores what the
    service allows (`Cache-Control`, `Expires`, `Vary`, `ETag`), verifies what is stale, answers
    the client's own conditional requests, and forgets what an unsafe request changed. It works
    on `HttpRequest` contexts, in threads and in tasks at once; anything else passes through.

    - `size`: memory for all entries together, headers and overhead included. Behind several
      workers each has its part of it, and its own entries. Without `l2` a change seen by one
      worker is not seen by the others, which hold their answers until these are stale.
    - `max_body`: larger bodies pass through unstored. No URL takes more than an eighth of `size`.
    - `ttl`: how long answers that state no freshness are fresh; None: guess by `Last-Modified`,
      at most an hour. Requests with a `Cookie` neither fill nor get such entries.
    - `stale_while_revalidate`, `stale_if_error`: how long stale answers may be given while one
      request asks for news, or when asking fails, where the answer does not say it itself.
    - `wait`: how long a request waits for another's load before it starts one itself.
    - `l2`: a second level, "redis://…" (Redis or Valkey), "sqlite:///file.db" or "memory://name",
      for all workers and gateways whose caches have the same `name`. It is asked before the
      origin, within its own time limit and behind a breaker: while it is away, origins are asked.
    - `max_stale`: while changes that others make may be missed, no answer in memory is older than
      this without asking the second level.

    **One load for many.** Concurrent misses wait for the first; if that one is cancelled, one of
    them takes over; an error, or the status of a failed answer, goes to all. Requests with
    `Authorization`, `no-store` or `no-cache` neither wait nor are waited for, and when an answer
    cannot be shared its requests go their own ways for ten seconds. A streamed body reaches the
    loader's client as it arrives, and those who wait when it is complete.

    **With a second level** the load is one for all processes, and what an unsafe request, `forget`
    or `clear` lets go of, here or elsewhere, is let go of in all. They return when the others
    have been told; a load that began before stores nothing any more. While the second level is
    away the others go on, and are told before anything else is read from it here.

    `Range` requests pass through: parts are neither stored nor cut from stored answers. What
    was done stands in the request's note "cache" (see `Replies`), why an answer was not stored
    in "cache_refused".

    The call must ask the origin for `current_request()`: a verification has other conditions
    than the client's request, and a load in the background is a request of its own.

    >>> from escala.kernel.context import serving
    >>> cache = ResponseCache("8MiB")
    >>> @cache
    ... def page() -> Response:
    ...     return Response(200, [(b"cache-control", b"max-age=60")], b"hello")
    >>> with serving(HttpRequest("GET", b"/", [], host=b"shop")) as request:
    ...     [(page().body, request.notes["cache"]) for _ in range(2)]
    [(b'hello', 'miss'), (b'hello', 'hit')]
    """

    kind: ClassVar[str] = "cache"
    shorthand: ClassVar[str | None] = "size"
    repeats = True  # a 304 that speaks of another answer makes it ask again

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How much it may hold, and what is allowed where answers do not say."""

        size: PositiveSize = PositiveSize("64MiB")
        """Memory for all entries together, headers and overhead included."""
        max_body: PositiveSize = PositiveSize("1MiB")
        """Larger bodies are not stored."""
        ttl: Duration | None = None
        """Freshness of answers that state none; guessed by Last-Modified if unset."""
        stale_while_revalidate: Duration = Duration(0)
        """How long stale answers may be given while one request asks for news."""
        stale_if_error: Duration = Duration(0)
        """How long stale answers may be given when asking fails."""
        wait: PositiveDuration = PositiveDuration("5s")
        """How long a request waits for another's load before it starts one itself."""
        l2: str | None = None
        """The URL of a store in which workers and gateways share what they have loaded."""
        max_stale: PositiveDuration = PositiveDuration("2s")
        """While changes made by others may be missed, no answer in memory is older than this."""

    def __init__(
        self,
        size: str | int = "64MiB",
        *,
        max_body: str | int = "1MiB",
        ttl: str | float | None = None,
        stale_while_revalidate: str | float = 0,
        stale_if_error: str | float = 0,
        wait: str | float = "5s",
        l2: str | None = None,
        max_stale: str | float = "2s",
        name: str = "cache",
        wall: Callable[[], float] = wall,
    ) -> None:
        self.name = name
        given = {
            "size": size,
            "max_body": max_body,
            "ttl": ttl,
            "stale_while_revalidate": stale_while_revalidate,
            "stale_if_error": stale_if_error,
            "wait": wait,
            "l2": l2,
            "max_stale": max_stale,
        }
        self.options = options(self.Options, given, where="ResponseCache")
        self._shared = SharedAnswers(self.options.size)
        terms = Terms(
            unstated=self.options.ttl,
            stale_while_revalidate=self.options.stale_while_revalidate,
            stale_if_error=self.options.stale_if_error,
        )
        largest = min(self.options.max_body, self._shared.largest)
        self._replies = Replies(self._shared, terms=terms, max_body=largest, wall=wall)
        self._second = None if self.options.l2 is None else self._opened(self.options.l2)
        patience = self.options.wait
        self._leader = CacheLeader(self._shared, self._replies, self._second, patience=patience)
        self._reader = CacheReader(self._leader, self._shared, self._replies, patience=patience)
        self._changes = CacheChanges(self._shared, self._second)

    def _opened(self, url: str) -> SecondAnswers:
        name = f"http:{self.name}"  # a `Cache` may have the same name
        try:
            store = open_value_store(url, name, os.urandom(8).hex())
        except ConfigError as error:
            problems = (each.removeprefix(f"{name}: ") for each in error.problems)
            raise ConfigError(*(f"ResponseCache: {each}" for each in problems)) from error
        ear = AnswerEar(self._shared, bound=self.options.max_stale / 2, name=self.name)
        return SecondAnswers(SecondLevel(store, name=self.name), ear)

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; several processes together take `size`."""
        return cls(
            max(1, options.size // scope.share),
            max_body=options.max_body,
            ttl=options.ttl,
            stale_while_revalidate=options.stale_while_revalidate,
            stale_if_error=options.stale_if_error,
            wait=options.wait,
            l2=options.l2,
            max_stale=options.max_stale,
            name=scope.label(cls.kind),
        )

    def __repr__(self) -> str:
        chosen = self.options
        if chosen.l2 is not None:
            chosen = msgspec.structs.replace(chosen, l2=without_password(chosen.l2))
        return spelled(self, chosen, name=self.name)

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Answer the current request from memory, or through `call`."""
        request = current_request()
        if not isinstance(request, HttpRequest):
            return await call()
        if self._second is not None:
            self._second.listen()
        if request.method not in _READS:
            return await self._change(request, call, runtime)
        asked = read_request(request.headers)
        if asked.origin_only or request.body is not None or request.upgrade is not None:
            self._replies.note(request, "bypass")
            return await call()
        visit = Visit(
            request, asked, cache_key(request.scheme, request.host, request.target), call, runtime
        )
        return cast("T", await self._reader.serve(visit))

    def forget(self, url: str) -> bool:
        """Never give the stored answers for this URL again, nor one that is being loaded.

        False if the second level did not answer: then it is told before anything else is read
        from it here, and others may give the old answers until then.
        """
        return drive(self._changes.make([_key(url)], Effect.FORGET, colours.thread))

    async def aforget(self, url: str) -> bool:
        """`forget` on an event loop."""
        return await self._changes.make([_key(url)], Effect.FORGET, colours.loop)

    def clear(self) -> bool:
        """Never give any of the answers stored up to now again; see `forget`."""
        return drive(self._changes.clear(colours.thread))

    async def aclear(self) -> bool:
        """`clear` on an event loop."""
        return await self._changes.clear(colours.loop)

    def close(self) -> None:
        """Let go of the second level, and hear no more of what others change."""
        if self._second is not None:
            self._second.close()

    def snapshot(self) -> dict[str, float]:
        """The counts (see `Replies`), how full it is, and how the second level is."""
        second = self._second
        shared = self._replies.counts() | self._shared.snapshot()
        if second is None:
            return shared
        return {**shared, "l2_hits": self._leader.second_hits, **second.snapshot()}

    # Changing

    async def _change(self, request: HttpRequest, call: Next[T], runtime: Runtime) -> T:
        """Pass an unsafe request on, and let go of what it changes."""
        self._replies.note(request, "bypass")
        try:
            answer = await call()
        except BaseException as error:
            if request.tried or not isinstance(error, Rejected):
                keys, done = _affected(request, None, [])
                self._changes.leave(keys, done, runtime)
            raise
        if isinstance(answer, Response):
            keys, done = _affected(request, answer.status, answer.headers)
        else:
            keys, done = _affected(request, None, [])
        if keys:
            await self._changes.make(keys, done, runtime)
        return answer


def _affected(
    request: HttpRequest, status: int | None, headers: Headers
) -> tuple[list[bytes], Effect]:
    done = effect(request.method, status)
    if done is Effect.NONE:
        return [], done
    return affected(request.scheme, request.host, request.target, headers), done


def _key(url: str) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return cache_key(*(part.encode() for part in (parts.scheme, parts.netloc, target)))

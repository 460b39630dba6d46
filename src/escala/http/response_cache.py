"""Answer from memory what does not need the service: RFC 9111 for a whole stack.

- cache: {size: 64MiB}
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
from collections.abc import Callable
from typing import Self, TypeVar, cast
from urllib.parse import urlsplit

import msgspec

from escala.errors import DeadlineExceeded, EscalaError, Rejected
from escala.http.cache_load import CacheLoad
from escala.http.cache_replies import Replies, Visit
from escala.http.message import HttpRequest, Response, plain
from escala.http.pure.admission import Terms
from escala.http.pure.asked import read_request
from escala.http.pure.cache_key import cache_key
from escala.http.pure.fields import Headers
from escala.http.pure.flight import Part
from escala.http.pure.invalidation import Effect, affected, effect
from escala.http.pure.reuse import FAILURES, Use, use
from escala.http.pure.validators import contradicts
from escala.http.shared_answers import (
    ALONE,
    Ask,
    Give,
    Lead,
    Outcome,
    Refuse,
    SharedAnswers,
    Wait,
)
from escala.http.stream import Stream
from escala.kernel import units
from escala.kernel.context import current_request, remaining, serving
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime, ThreadRuntime, wall
from escala.kernel.units import Duration, PositiveDuration, PositiveSize

T = TypeVar("T")

_TOO_LATE = "the deadline passed while another request loaded the same answer"
_READS = {"GET", "HEAD"}
_ROUNDS = 3  # a waiter that three loads in a row could not serve asks for itself


class ResponseCache(Policy):
    """Give stored answers while they are fresh, and let one request load for all who want the same.

    A shared cache as RFC 9111 has it, with the stale windows of RFC 5861: it stores what the
    service allows (`Cache-Control`, `Expires`, `Vary`, `ETag`), verifies what is stale, answers
    the client's own conditional requests, and forgets what an unsafe request changed. It works
    on `HttpRequest` contexts, in threads and in tasks at once; anything else passes through.

    - `size`: memory for all entries together, headers and overhead included. Behind several
      workers each has its part of it, and its own entries: a change seen by one worker is not
      seen by the others, which hold their answers until these are stale.
    - `max_body`: larger bodies pass through unstored (nor is anything above an eighth of `size`).
    - `ttl`: how long answers that state no freshness are fresh; None: guess by `Last-Modified`,
      at most an hour. Requests with a `Cookie` neither fill nor get such entries.
    - `stale_while_revalidate`, `stale_if_error`: how long stale answers may be given while one
      request asks for news, or when asking fails, where the answer does not say it itself.
    - `wait`: how long a request waits for another's load before it starts one itself.

    **One load for many.** Concurrent misses wait for the first; if that one is cancelled, one of
    them takes over; an error, or the status of a failed answer, goes to all. Requests with
    `Authorization`, `no-store` or `no-cache` neither wait nor are waited for, and when an answer
    cannot be shared its requests go their own ways for ten seconds. A streamed body reaches the
    loader's client as it arrives, and those who wait when it is complete.

    `Range` requests pass through: parts are neither stored nor cut from stored answers.
    """

    kind = "cache"
    shorthand = "size"
    repeats = True  # a 304 that speaks of another answer makes it ask again

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """The fields of `cache:` in `stack.yaml`."""

        size: PositiveSize = PositiveSize("64MiB")
        max_body: PositiveSize = PositiveSize("1MiB")
        ttl: Duration | None = None
        stale_while_revalidate: Duration = Duration(0)
        stale_if_error: Duration = Duration(0)
        wait: PositiveDuration = PositiveDuration("5s")

    def __init__(
        self,
        size: str | int = "64MiB",
        *,
        max_body: str | int = "1MiB",
        ttl: str | float | None = None,
        stale_while_revalidate: str | float = 0,
        stale_if_error: str | float = 0,
        wait: str | float = "5s",
        name: str = "cache",
        wall: Callable[[], float] = wall,
    ) -> None:
        self.name = name
        self.wait = units.seconds(wait)
        self._shared = SharedAnswers(units.size(size))
        terms = Terms(
            unstated=None if ttl is None else units.seconds(ttl),
            stale_while_revalidate=units.seconds(stale_while_revalidate),
            stale_if_error=units.seconds(stale_if_error),
        )
        largest = min(units.size(max_body), self._shared.largest)
        self._replies = Replies(self._shared, terms=terms, max_body=largest, wall=wall)
        self._refreshing: set[asyncio.Task[None]] = set()

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """One cache for each worker, which together take `size`."""
        return cls(
            max(1, options.size // scope.share),
            max_body=options.max_body,
            ttl=options.ttl,
            stale_while_revalidate=options.stale_while_revalidate,
            stale_if_error=options.stale_if_error,
            wait=options.wait,
            name=scope.label(cls.kind),
        )

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Answer the current request from memory, or through `call`."""
        request = current_request()
        if not isinstance(request, HttpRequest):
            return await call()
        if request.method not in _READS:
            return cast("T", await self._change(request, call))
        asked = read_request(request.headers)
        if asked.origin_only or request.body is not None or request.upgrade is not None:
            self._replies.note(request, "bypass")
            return await call()
        visit = Visit(
            request, asked, cache_key(request.scheme, request.host, request.target), call, runtime
        )
        return cast("T", await self._serve(visit))

    def forget(self, url: str) -> None:
        """Never give the stored answers for this URL again, nor one that is being loaded."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        key = cache_key(*(part.encode() for part in (parts.scheme, parts.netloc, target)))
        self._shared.affect(key, Effect.FORGET)

    def clear(self) -> None:
        """Never give any of the answers stored up to now again."""
        self._shared.clear()

    def snapshot(self) -> dict[str, float]:
        """The counts (see `Replies`) and how full it is: bytes, entries, evicted."""
        return self._replies.counts() | self._shared.snapshot()

    # Reading

    async def _serve(self, visit: Visit) -> Response:
        asked, headers = visit.asked, visit.request.headers
        joins = asked.joins and visit.request.method == "GET"
        for _ in range(_ROUNDS):
            plan = self._shared.plan(
                visit.key,
                asked,
                headers,
                now=visit.runtime.now(),
                joins=joins,
                place=visit.runtime.parker,
            )
            if isinstance(plan, Give):
                word = "hit" if plan.use is Use.FRESH else "stale"
                return self._replies.stored(visit, plan.answer, word)
            if isinstance(plan, Lead):
                return await self._lead(visit, plan)
            if isinstance(plan, Ask):
                return await self._ask(visit, plan)
            if isinstance(plan, Refuse):
                self._replies.note(visit.request, "miss")
                return plain(504, "only a stored answer was asked for, and there is none")
            response = await self._wait(visit, plan)
            if response is not None:
                return response
        return await self._ask(visit, Ask(self._shared.generation(visit.key)))

    async def _lead(self, visit: Visit, plan: Lead) -> Response:
        if plan.answer is None or plan.use is not Use.STALE:
            return await self._load(visit, plan).run()
        if isinstance(visit.runtime, ThreadRuntime):
            # A thread has no one to leave the work to: this caller asks, all others get it stale.
            return await self._load(visit, plan).run()
        self._refresh(visit, plan)
        return self._replies.stored(visit, plan.answer, "stale")

    def _load(self, visit: Visit, plan: Lead) -> CacheLoad:
        return CacheLoad(
            self._replies,
            visit,
            stale=plan.answer,
            flight=plan.flight,
            variant=plan.flight.variant,
            generation=plan.generation,
        )

    def _refresh(self, visit: Visit, plan: Lead) -> None:
        """Load in a task of its own: no client waits for it, so no client's deadline bounds it."""
        request = copy.copy(visit.request)
        request.notes = {}
        visit = msgspec.structs.replace(visit, request=request, background=True)
        load = self._load(visit, plan)
        task = asyncio.get_running_loop().create_task(
            self._loading(visit, load), context=contextvars.Context()
        )
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)
        task.add_done_callback(lambda _: load.give_up())  # a task may end before it began

    async def _loading(self, visit: Visit, load: CacheLoad) -> None:
        runtime = visit.runtime

        async def fetch() -> None:
            with serving(visit.request):
                response = await load.run()
            if load.recording and isinstance(response.body, Stream):
                async with contextlib.aclosing(response.body) as body:
                    async for _ in body:
                        pass
            else:
                response.discard()

        try:
            await runtime.race(fetch, runtime.now() + self.wait)
        except Exception:  # noqa: BLE001  no one is there to be told; the stale answer stays
            self._replies.rescue(visit)

    async def _ask(self, visit: Visit, plan: Ask) -> Response:
        if visit.request.method == "GET" and not visit.asked.control.no_store:
            load = CacheLoad(
                self._replies,
                visit,
                stale=plan.answer,
                flight=None,
                variant=plan.variant,
                generation=plan.generation,
            )
            return await load.run()
        if plan.answer is not None and plan.use is Use.STALE:
            return self._replies.stored(visit, plan.answer, "stale")
        return await self._look(visit, plan)

    async def _look(self, visit: Visit, plan: Ask) -> Response:
        """Pass on what is not kept: HEAD, or `no-store`."""
        word = "miss" if visit.request.method == "HEAD" else "bypass"
        try:
            response = cast("Response", await visit.call())
        except (EscalaError, OSError):
            if (rescue := self._replies.rescue(visit)) is not None:
                return rescue
            self._replies.note(visit.request, word)
            raise
        if response.status in FAILURES and (rescue := self._replies.rescue(visit)) is not None:
            response.discard()
            return rescue
        if plan.answer is not None and contradicts(plan.answer.headers, response.headers):
            self._shared.remove(plan.answer)
        self._replies.note(visit.request, word)
        return response

    async def _wait(self, visit: Visit, plan: Wait) -> Response | None:
        """Wait for another's load; None when what it brought is of no use to this request."""
        runtime, flight = visit.runtime, plan.flight
        part = await self._park(visit, plan)
        if part is not Part.TAKE:
            if part is Part.WAIT:
                if remaining(runtime.now()) <= 0:
                    raise DeadlineExceeded(_TOO_LATE)
                overtaking = self._shared.overtake(flight)
                if overtaking is None:
                    return None
                flight = overtaking
            generation = self._shared.generation(visit.key)
            return await self._load(visit, Lead(flight, generation, plan.answer, Use.NONE)).run()
        outcome = flight.result
        if outcome is None or outcome is ALONE:
            generation = self._shared.generation(visit.key)
            return await self._ask(visit, Ask(generation, flight.variant, plan.answer))
        if outcome.answer is not None:
            answer, headers = outcome.answer, visit.request.headers
            how = use(answer.windows, visit.asked.control, now=runtime.now())
            if how is Use.NONE or not answer.matches(visit.asked, headers):
                return None
            return self._replies.stored(visit, answer, "coalesced")
        return self._failed(visit, outcome)

    async def _park(self, visit: Visit, plan: Wait) -> Part:
        """Sleep until the flight has something for this request, or its patience ends."""
        patience = min(self.wait, remaining(visit.runtime.now()))
        try:
            await plan.seat.place.park(patience)
        except BaseException:
            self._shared.leave(plan.flight, plan.seat)
            raise
        return self._shared.part(plan.flight, plan.seat)

    def _failed(self, visit: Visit, outcome: Outcome) -> Response:
        """The load that this request waited for failed, so it fails as well, but in its own words.

        A failed answer's body was meant for the client that asked, so only its status is shared.
        """
        error = outcome.error
        failed = error is None or isinstance(error, (EscalaError, OSError))
        if failed and (rescue := self._replies.rescue(visit)) is not None:
            return rescue
        self._replies.note(visit.request, "coalesced")
        if error is not None:
            raise error.with_traceback(None)
        extra = [] if outcome.retry_after is None else [(b"retry-after", outcome.retry_after)]
        return plain(outcome.failed, "the request that this one waited for failed", *extra)

    # Changing

    async def _change(self, request: HttpRequest, call: Next[T]) -> T:
        """Pass an unsafe request on, and let go of what it changes."""
        self._replies.note(request, "bypass")
        try:
            answer = await call()
        except BaseException as error:
            if request.tried or not isinstance(error, Rejected):
                self._affect(request, None, [])
            raise
        if isinstance(answer, Response):
            self._affect(request, answer.status, answer.headers)
        else:
            self._affect(request, None, [])
        return answer

    def _affect(self, request: HttpRequest, status: int | None, headers: Headers) -> None:
        done = effect(request.method, status)
        if done is not Effect.NONE:
            for key in affected(request.scheme, request.host, request.target, headers):
                self._shared.affect(key, done)

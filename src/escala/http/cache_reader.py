"""The way of one request through the cache: answered at once, waiting for another, or asking."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
from typing import cast

import msgspec

from escala.errors import DeadlineExceeded, EscalaError
from escala.http.cache_load import CacheLoad
from escala.http.cache_replies import Replies, Visit
from escala.http.message import Response, plain
from escala.caching.pure.flight import Part
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
from escala.kernel.context import remaining, serving
from escala.kernel.runtime import ThreadRuntime

_ROUNDS = 3  # a waiter that three loads in a row could not serve asks for itself
_TOO_LATE = "the deadline passed while another request loaded the same answer"


class CacheReader:
    """Takes requests that a stored answer could serve, and finds the cheapest way to serve them.

    `patience` is how long one waits for another's load, in seconds, and how long a load in the
    background may take.
    """

    def __init__(self, shared: SharedAnswers, replies: Replies, *, patience: float) -> None:
        self._shared, self._replies, self._patience = shared, replies, patience
        self._refreshing: set[asyncio.Task[None]] = set()

    async def serve(self, visit: Visit) -> Response:
        """Answer a GET or HEAD."""
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
        request.notes, request.tried = {}, ()
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
            await runtime.race(fetch, runtime.now() + self._patience)
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
            response = await visit.call()
        except (EscalaError, OSError):
            if (rescue := self._replies.rescue(visit)) is not None:
                return rescue
            self._replies.note(visit.request, word)
            raise
        if not isinstance(response, Response):
            self._replies.note(visit.request, word)
            return cast("Response", response)
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
                    self._replies.note(visit.request, "coalesced")
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
        patience = min(self._patience, remaining(visit.runtime.now()))
        try:
            await plan.seat.place.park(patience)
        except BaseException as error:
            self._shared.leave(plan.flight, plan.seat)
            if isinstance(error, DeadlineExceeded):  # a thread is told of its deadline like this
                self._replies.note(visit.request, "coalesced")
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
            own = _of_its_own(error)
            if own is error:
                raise error.with_traceback(None)
            raise own from error
        extra = [] if outcome.retry_after is None else [(b"retry-after", outcome.retry_after)]
        return plain(outcome.failed, "the request that this one waited for failed", *extra)


def _of_its_own(error: Exception) -> Exception:
    """A copy to raise, since whoever catches it may write into it: notes, traceback, context."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001  an exception may be made in a way that copying cannot repeat
        return error
    if type(own) is not type(error):
        return error
    if notes := getattr(error, "__notes__", None):
        own.__notes__ = list(notes)
    return own

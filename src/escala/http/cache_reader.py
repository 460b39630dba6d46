"""The way of one request through the cache: answered at once, waiting for another, or asking."""

from __future__ import annotations

import copy
from typing import cast

from escala.caching.pure.flight import Part
from escala.errors import DeadlineExceeded, EscalaError
from escala.http.cache_leader import CacheLeader
from escala.http.cache_load import CacheLoad
from escala.http.cache_replies import Replies, Visit
from escala.http.message import Response, plain
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
from escala.kernel.context import remaining

_ROUNDS = 3  # a waiter that three loads in a row could not serve asks for itself
_TOO_LATE = "the deadline passed while another request loaded the same answer"


class CacheReader:
    """Takes requests that a stored answer could serve, and finds the cheapest way to serve them.

    `patience` is how long one waits for another's load, in seconds.
    """

    def __init__(
        self, leader: CacheLeader, shared: SharedAnswers, replies: Replies, *, patience: float
    ) -> None:
        self._leader, self._shared, self._replies = leader, shared, replies
        self._patience = patience

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
                return self._replies.given(visit, plan.answer, plan.use)
            if isinstance(plan, Lead):
                return await self._leader.lead(visit, plan)
            if isinstance(plan, Ask):
                return await self._ask(visit, plan)
            if isinstance(plan, Refuse):
                return await self._refuse(visit)
            response = await self._wait(visit, plan)
            if response is not None:
                return response
        return await self._ask(visit, Ask(self._shared.generation(visit.key)))

    async def _refuse(self, visit: Visit) -> Response:
        if (response := await self._leader.glance(visit)) is not None:
            return response
        self._replies.note(visit.request, "miss")
        return plain(504, "only a stored answer was asked for, and there is none")

    async def _ask(self, visit: Visit, plan: Ask) -> Response:
        if plan.variant is None and plan.use is Use.NONE:
            response = await self._leader.glance(visit)
            if response is not None:
                return response
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
            lead = Lead(flight, generation, plan.answer, Use.NONE)
            return await self._leader.lead(visit, lead, waits=part is not Part.WAIT)
        outcome = flight.result
        if outcome is None or outcome is ALONE:
            generation = self._shared.generation(visit.key)
            return await self._ask(visit, Ask(generation, flight.variant, plan.answer))
        if outcome.answer is not None:
            answer = outcome.answer
            how = use(answer.windows, visit.asked.control, now=runtime.now())
            if how is Use.NONE or not answer.matches(visit.asked, visit.request.headers):
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

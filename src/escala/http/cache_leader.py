"""Who leads a load: from the second level, or from the origin, for all who wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import functools
from collections.abc import Awaitable, Callable
from typing import TypeGuard

import msgspec

from escala.http.cache_load import CacheLoad
from escala.http.cache_replies import Replies, Visit
from escala.http.message import Response
from escala.http.pure.reuse import Use, use
from escala.http.pure.stored_answer import StoredAnswer
from escala.http.recording import Recording
from escala.http.second_answers import AnswerLease, SecondAnswers, Sight
from escala.http.shared_answers import CacheFlight, Lead, SharedAnswers
from escala.kernel.context import serving
from escala.kernel.runtime import ThreadRuntime

_FIRST_LOOK, _LAST_LOOK = 0.005, 0.1  # seconds between looks at what another process is loading
_SAME = 1.0  # seconds that the birth of one answer may differ by, as two levels reckon it


class CacheLeader:
    """Takes the lead of a flight and sees to it that it lands, or is handed over.

    `patience` is how long it waits for another process, in seconds, and how long a load in the
    background may take.
    """

    def __init__(
        self,
        shared: SharedAnswers,
        replies: Replies,
        second: SecondAnswers | None,
        *,
        patience: float,
    ) -> None:
        self._shared, self._replies, self._second = shared, replies, second
        self._patience = patience
        self._refreshing: set[asyncio.Task[None]] = set()
        self.second_hits = 0

    async def lead(self, visit: Visit, plan: Lead, *, waits: bool = True) -> Response:
        """Answer a request that leads; it `waits` for another process unless it has waited."""
        if plan.answer is not None and _goes_on_behind(visit, plan.use):
            self._refresh(visit, plan.flight, functools.partial(self._fetched, plan=plan))
            return self._replies.given(visit, plan.answer, plan.use)
        return await self._fetched(visit, plan, waits=waits)

    async def glance(self, visit: Visit) -> Response | None:
        """What the second level has for a request that waits for no one, and loads for no one."""
        second, control = self._second, visit.asked.control
        if second is None or control.no_cache or control.max_age == 0:
            return None
        generation, runtime = self._shared.generation(visit.key), visit.runtime
        sight = await second.look(visit.key, visit.request.headers, runtime, lease=0.0)
        if sight.answer is None:
            return None
        how = _use(sight.answer, visit, runtime.now())
        if how is Use.NONE:
            return None
        return self._taken(visit, sight.answer, how, generation=generation)

    async def _fetched(self, visit: Visit, plan: Lead, *, waits: bool = True) -> Response:
        second = self._second
        if second is None:
            return await self._load(visit, plan=plan)
        try:
            sight = await self._seen(second, visit, self._patience if waits else 0.0)
        except BaseException as error:
            self._shared.hand_over(plan.flight)
            if isinstance(error, Exception):
                self._replies.missed(visit)
            raise
        lease, now = sight.lease, visit.runtime.now()
        if sight.private:
            return await self._alone(visit, plan, now)
        if _is_better(sight.answer, plan.answer, visit):
            answer = sight.answer
            how = use(answer.windows, visit.asked.control, now=now)
            behind = _goes_on_behind(visit, how)
            if (
                how is Use.FRESH
                or how is Use.ACCEPTED
                or (how is Use.STALE and not (lease or behind))
            ):
                second.release(lease, visit.runtime)
                generation, flight = plan.generation, plan.flight
                return self._taken(visit, answer, how, generation=generation, flight=flight)
            self._shared.offer(answer, generation=plan.generation, now=now)
            plan = Lead(plan.flight, plan.generation, answer, how)
            if behind:
                load = functools.partial(self._load, plan=plan, lease=lease)
                if lease is None:  # another process asks for the news
                    load = functools.partial(self._fetched, plan=plan)
                self._refresh(visit, plan.flight, load)
                return self._replies.given(visit, answer, how)
        return await self._load(visit, plan=plan, lease=lease)

    async def _seen(self, second: SecondAnswers, visit: Visit, patience: float) -> Sight:
        """What the second level has when no other process loads it, or `patience` is over."""
        runtime, pause = visit.runtime, _FIRST_LOOK
        until = runtime.now() + patience
        while True:
            sight = await second.look(visit.key, visit.request.headers, runtime)
            now = runtime.now()
            if sight.lease is not None or sight.private or sight.wait <= 0 or now >= until:
                return sight
            how = Use.NONE if sight.answer is None else _use(sight.answer, visit, now)
            if how is not Use.NONE and (how is not Use.STALE or not visit.background):
                return sight
            await runtime.sleep(min(pause, sight.wait, until - now))
            pause = min(2 * pause, _LAST_LOOK)

    async def _alone(self, visit: Visit, plan: Lead, now: float) -> Response:
        """Another process has found that these answers cannot be shared."""
        key, flight, variant = visit.key, plan.flight, plan.flight.variant
        self._shared.refuse(key, replaces=None, flight=flight, variant=variant, now=now)
        load = CacheLoad(
            self._replies,
            visit,
            stale=plan.answer,
            flight=None,
            variant=variant,
            generation=plan.generation,
        )
        return await load.run()

    def _taken(
        self,
        visit: Visit,
        answer: StoredAnswer,
        how: Use,
        *,
        generation: int,
        flight: CacheFlight | None = None,
    ) -> Response:
        """Keep in memory what was found, and give it to all who wait."""
        self.second_hits += not visit.background
        self._shared.keep(
            answer,
            generation=generation,
            flight=flight,
            variant=None if flight is None else flight.variant,
            now=visit.runtime.now(),
        )
        return self._replies.given(visit, answer, how)

    async def _load(
        self, visit: Visit, *, plan: Lead, lease: AnswerLease | None = None
    ) -> Response:
        load = CacheLoad(
            self._replies,
            visit,
            stale=plan.answer,
            flight=plan.flight,
            variant=plan.flight.variant,
            generation=plan.generation,
            second=self._second,
            lease=lease,
        )
        return await load.run()

    # In the background

    def _refresh(
        self, visit: Visit, flight: CacheFlight, load: Callable[[Visit], Awaitable[Response]]
    ) -> None:
        """Load in a task of its own: no client waits for it, so no client's deadline bounds it."""
        request = copy.copy(visit.request)
        request.notes, request.tried = {}, ()
        visit = msgspec.structs.replace(visit, request=request, background=True)
        began = False

        async def begin() -> Response:
            nonlocal began
            began = True
            return await load(visit)

        def ended(task: asyncio.Task[None]) -> None:
            self._refreshing.discard(task)
            if not began:  # a task may end before it began
                self._shared.hand_over(flight)

        task = asyncio.get_running_loop().create_task(
            self._loading(visit, begin), context=contextvars.Context()
        )
        self._refreshing.add(task)
        task.add_done_callback(ended)

    async def _loading(self, visit: Visit, load: Callable[[], Awaitable[Response]]) -> None:
        runtime = visit.runtime

        async def fetch() -> None:
            with serving(visit.request):
                response = await load()
            if isinstance(response.body, Recording):
                async with contextlib.aclosing(response.body) as body:
                    async for _ in body:
                        pass
            else:
                response.discard()

        try:
            await runtime.race(fetch, runtime.now() + self._patience)
        except Exception:  # noqa: BLE001  no one is there to be told; the stale answer stays
            self._replies.rescue(visit)


def _goes_on_behind(visit: Visit, how: Use) -> bool:
    """Whether a stale answer is given while a task of its own asks for news.

    A thread has no one to leave the work to: it asks, and all others get the stale answer.
    """
    behind = how is Use.STALE and not visit.background
    return behind and not isinstance(visit.runtime, ThreadRuntime)


def _use(answer: StoredAnswer, visit: Visit, now: float) -> Use:
    """How this request may be given an answer that was found by its URL."""
    if not answer.matches(visit.asked, visit.request.headers):
        return Use.NONE
    return use(answer.windows, visit.asked.control, now=now)


def _is_better(
    found: StoredAnswer | None, mine: StoredAnswer | None, visit: Visit
) -> TypeGuard[StoredAnswer]:
    """Whether it is for this request, and not what the one here has replaced."""
    if found is None or not found.matches(visit.asked, visit.request.headers):
        return False
    return mine is None or mine.windows.born <= found.windows.born + _SAME

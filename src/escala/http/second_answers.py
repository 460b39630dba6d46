"""The answers that all workers and all gateways share: looked for, stored, invalidated."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from escala.caching.pure.blob import Mark
from escala.caching.second_level import SecondLevel
from escala.caching.value_store import Found, Put, Signal
from escala.errors import EscalaError
from escala.http.answer_ear import AnswerEar
from escala.http.pure.answer_record import (
    Index,
    Kept,
    Private,
    Record,
    answer_of,
    packed,
    record_of,
    unpacked,
)
from escala.http.pure.fields import Headers
from escala.http.pure.stored_answer import StoredAnswer
from escala.kernel.context import deadline_variable
from escala.kernel.runtime import Runtime, ThreadRuntime, drive

T = TypeVar("T")

LEASE = 10.0  # seconds that a load has before another process may begin one
_LIFE = 12  # random bytes


class AnswerLease(NamedTuple):
    """The right to store what a load brings, at `place`.

    `mark` is from before the load, when it was `at` here. It is the URL's own
    or `behind` an index.
    """

    url: str
    place: str
    token: bytes
    mark: Mark
    at: float
    behind: Index | None


class Sight(NamedTuple):
    """What the store has for a request: an answer, fresh or not, and a lease, or neither.

    `wait`: seconds that the lease of another, who loads it, has left. `private`: no one should
    wait for anyone.
    """

    answer: StoredAnswer | None = None
    lease: AnswerLease | None = None
    wait: float = 0.0
    private: bool = False


_NOTHING = Found(None, False, None, 0.0, Mark(b"", 0, 0.0))  # noqa: FBT003


class SecondAnswers:
    """Stored answers in a `SecondLevel`. While it is away there are none, and nothing fails.

    At a URL's place is its answer, or an `Index` if that varies. An invalidation deletes or
    expires what is at the URL's place, and ends the lease on it. What stands behind an index
    that is gone, or is stored there afterwards, cannot be found any more.

    What no one waits for, and what must be done though its caller is cancelled, runs in a task
    of its own; a thread waits for it.
    """

    def __init__(self, second: SecondLevel, ear: AnswerEar) -> None:
        self._second, self._ear = second, ear
        second.ear = ear
        self._tasks: set[asyncio.Task[Any]] = set()
        self._undecodable = 0

    # Looking

    async def look(
        self, key: bytes, headers: Headers, runtime: Runtime, *, lease: float = LEASE
    ) -> Sight:
        """What there is for such a request, and if that is not fresh a lease to load with."""
        if isinstance(runtime, ThreadRuntime):
            return await self._look(key, headers, runtime, lease)
        task = self._begin(lambda: self._look(key, headers, runtime, lease))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda _: self._unused(task, runtime))
            raise

    def _unused(self, task: asyncio.Task[Sight], runtime: Runtime) -> None:
        if not task.cancelled() and task.exception() is None:
            self.release(task.result().lease, runtime)

    async def _look(self, key: bytes, headers: Headers, runtime: Runtime, lease: float) -> Sight:
        url = place = key.decode("latin-1")
        at = began = runtime.now()
        behind = None
        found, kept, age = await self._read(place, lease, runtime)
        if isinstance(kept, Index) and not found.expired:
            behind = kept
            place, at = behind.place(headers), runtime.now()
            found, kept, age = await self._read(place, lease, runtime)
        mine = answer = None
        if found.token is not None:
            mine = AnswerLease(url, place, found.token, found.mark, at, behind)
        if isinstance(kept, Record):
            answer = answer_of(key, kept, age=age, now=at)
            answer.known_at = began
            if found.expired:
                answer.doubt()
        return Sight(answer, mine, found.wait, isinstance(kept, Private))

    async def _read(
        self, place: str, lease: float, runtime: Runtime
    ) -> tuple[Found, Kept | None, float]:
        """What is at a place, and its age; nothing while the store is away."""
        found = _NOTHING
        for early in (False, True):
            answers = await self._second.read([place], lease, runtime, early=early)
            found = answers[0] if answers else _NOTHING
            if found.blob is None:
                break
            whole = unpacked(place, found.blob, found.mark)
            if whole is not None:
                return found, *whole
            self._undecodable += 1
            if found.token is not None or found.wait > 0 or not lease:
                break  # else the store takes it for fresh: then it is asked for the lease
        return found, None, 0.0

    # Storing

    def keep(
        self, lease: AnswerLease, answer: StoredAnswer, headers: Headers, runtime: Runtime
    ) -> None:
        """Store the answer to a request with these headers; the lease ends."""
        record, born = record_of(answer), answer.windows.born
        self._send(lambda: self._keep(lease, record, born, headers, runtime), runtime)

    async def _keep(
        self, lease: AnswerLease, record: Record, born: float, headers: Headers, runtime: Runtime
    ) -> None:
        index, place, token, puts = lease.behind, lease.place, lease.token, list[Put]()
        if index is not None and not set(record.vary) <= set(index.names):
            await self._begin_anew(lease, record.vary, index, runtime)
            return
        if index is None and record.vary:
            index = Index(record.vary, os.urandom(_LIFE))
            blob, kept = packed(place, index, lease.mark, age=0.0)
            puts.append(Put(place, token, blob, kept))
            place = index.place(headers)
            leases = await self._second.read([place], LEASE, runtime)
            if not leases or leases[0].token is None:
                return
            token = leases[0].token
        blob, kept = packed(place, record, lease.mark, age=lease.at - born)
        await self._second.keep([Put(place, token, blob, kept), *puts], runtime)

    async def _begin_anew(
        self, lease: AnswerLease, names: Sequence[bytes], index: Index, runtime: Runtime
    ) -> None:
        """The answers vary by more than the index says: nothing of what is behind it counts."""
        await self._second.release([(lease.place, lease.token)], runtime)
        claimed = await self._second.claim([lease.url], LEASE, runtime)
        if not claimed or claimed[0].token is None:
            return
        index = Index(tuple(sorted({*names, *index.names})), os.urandom(_LIFE))
        blob, kept = packed(lease.url, index, claimed[0].mark, age=0.0)
        await self._second.keep([Put(lease.url, claimed[0].token, blob, kept)], runtime)

    def refuse(self, lease: AnswerLease, runtime: Runtime) -> None:
        """What was loaded cannot be shared, and those who wait for it shall not; it ends."""
        blob, kept = packed(lease.place, Private(), lease.mark, age=0.0)
        put = Put(lease.place, lease.token, blob, kept)
        self._send(lambda: self._second.keep([put], runtime), runtime)

    def release(self, lease: AnswerLease | None, runtime: Runtime) -> None:
        """Let others load now."""
        if lease is not None:
            leases = [(lease.place, lease.token)]
            self._send(lambda: self._second.release(leases, runtime), runtime)

    # Changing

    def owe(self, signals: Sequence[Signal]) -> None:
        """Delete or expire for everyone, before anything else is read from the store here."""
        self._second.owe(signals)

    async def tell(self, runtime: Runtime) -> bool:
        """Tell the store what it is owed; False if that has to be repeated later."""
        return await self._finish(lambda: self._second.repair(runtime), runtime)

    def tell_later(self, runtime: Runtime) -> None:
        """The same without waiting for it."""
        self._send(lambda: self._second.repair(runtime), runtime)

    def listen(self) -> None:
        """Begin to hear what others change, which has to be before anything is in memory."""
        self._second.listen()

    def snapshot(self) -> dict[str, float]:
        """Whether the store is away or unheard, and how often it held what is no answer."""
        told = {"l2_undecodable": float(self._undecodable)}
        return {**self._second.snapshot(), **self._ear.snapshot(), **told}

    def close(self) -> None:
        """Let go of the store, and trust nothing in memory for long from here on."""
        self._second.close()
        self._ear.lost()

    # How

    async def _finish(self, call: Callable[[], Coroutine[Any, Any, T]], runtime: Runtime) -> T:
        """Have it done to its end, in its own time, though the caller may be cancelled."""
        if not isinstance(runtime, ThreadRuntime):
            return await asyncio.shield(self._begin(call))
        before = deadline_variable.set(math.inf)
        try:
            return await call()
        finally:
            deadline_variable.reset(before)

    def _send(self, call: Callable[[], Coroutine[Any, Any, object]], runtime: Runtime) -> None:
        """The same without waiting for it, except in a thread. What goes wrong is no one's."""
        if isinstance(runtime, ThreadRuntime):
            with contextlib.suppress(EscalaError):
                drive(self._finish(call, runtime))
        else:
            with contextlib.suppress(RuntimeError):  # there is no loop any more: leases end alone
                self._begin(call)

    def _begin(self, call: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(call(), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it has been looked at, so asyncio does not complain

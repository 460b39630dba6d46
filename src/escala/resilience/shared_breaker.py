"""The way of a call through a circuit breaker that other processes share."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple, TypeVar, cast

from escala.errors import DeadlineExceeded, StoreUnavailable, WouldBlock
from escala.kernel.events import publish
from escala.kernel.policy import Next
from escala.kernel.runtime import Runtime
from escala.resilience.breaker_shell import BreakerShell
from escala.resilience.breaker_store import BreakerStore
from escala.resilience.breaker_verdict import Judge, Verdict, verdict
from escala.resilience.call_key import call_key, key_text
from escala.resilience.events import BreakerStoreChanged
from escala.resilience.pure.breaker import REFUSED
from escala.resilience.pure.shared_breaker import Answer, Errand, SharedMachine

T = TypeVar("T")


_REPORTS: tuple[Errand, ...] = ("open", "passed", "failed")


class _Call(NamedTuple):
    """Whose breaker a call meets, and in which colour it waits."""

    machine: SharedMachine
    key: Hashable
    runtime: Runtime


class SharedBreakerShell(BreakerShell):
    """Asks the store once per `refresh` and for each probe, and does without while it is away."""

    _judge: Judge | None = None
    _slow: float = math.inf
    _store: BreakerStore | None = None
    _refresh: float = 0.0
    _away, _away_until = False, -math.inf

    def snapshot(self) -> dict[str, float]:
        """For metrics: the number of breakers in each state, and what a shadow would have refused.

        One without a `key` is one breaker, so these are 1 or 0; with it, `keys` says how many there
        are. With a `store`, `store_away` is 1 while it does not answer.
        """
        figures = super().snapshot()
        if self._store is not None:
            figures["store_away"] = float(self._away)
        return figures

    def close(self) -> None:
        """Let go of the store's connections, if there is a store; may be called twice."""
        if self._store is not None:
            self._store.close()

    async def _around_shared(self, call: Next[T], runtime: Runtime) -> T:
        key: Hashable = "" if self._key is None else call_key(self._key)
        now = runtime.now()
        with self._lock:
            found = self._machine if self._key is None else self._machines.use(key, now)
            this = _Call(cast("SharedMachine", found), key, runtime)
            machine = this.machine
            shares = self._mode == "enforce"  # what is done by hand is this process's own matter
            due = shares and machine.due(now)
        if due:
            await self._ask(this, "look")
        permit, lease = machine.passing, ""
        if permit == REFUSED and shares:
            permit, lease = await self._probe(this)
        elif permit == REFUSED:
            permit = self._admitted(machine, key, now)
        began = runtime.now()
        try:
            result = await call()
            failed = self._judge is not None and self._judge(result)
        except BaseException as error:
            said, slow = Verdict.FAILED, runtime.now() - began >= self._slow
            try:
                said = verdict(error, self._on, runtime.now())
            finally:
                await self._came_to(this, said, permit, lease, slow=slow)
            raise
        slow = runtime.now() - began >= self._slow
        said = Verdict.FAILED if failed else Verdict.WELL
        await self._came_to(this, said, permit, lease, slow=slow)
        return result

    async def _probe(self, this: _Call) -> tuple[int, str]:
        """A permit and the store's name for it, or `CircuitOpen`."""
        machine, key, runtime = this
        with self._lock:
            asks = machine.may_ask(runtime.now())
        if asks:
            lease = cast("BreakerStore", self._store).lease()
            try:
                answer = await self._ask(this, "probe", lease)
            finally:
                with self._lock:
                    machine.asked()
            if answer is None:
                return self._admitted(machine, key, runtime.now()), ""
            if answer.granted:
                return machine.epoch, lease
        permit = machine.passing
        if permit == REFUSED:
            self._refuse(machine, key, runtime.now())
        return permit, ""

    async def _came_to(
        self, this: _Call, said: Verdict, permit: int, lease: str, *, slow: bool
    ) -> None:
        """Count how a call ended, and tell the store what all have to know."""
        machine, key, runtime = this
        now = runtime.now()
        if lease and said is Verdict.NOTHING:
            with self._lock:
                machine.give_back(lease)
            return  # without asking: a call that is cancelled waits for no one
        if lease:
            good = said is Verdict.WELL and not slow
            reason = "a probe failed" if said is Verdict.FAILED else "a probe was slow"
            errand: Errand = "passed" if good else "failed"
            if await self._ask(this, errand, lease, reason) is not None:
                return
        knew = machine.unreported
        self._ended(said, machine, key, permit, now, slow=slow)
        if machine.unreported and not knew and self._mode == "enforce":
            await self._ask(this, "open")

    async def _ask(
        self, this: _Call, errand: Errand, lease: str = "", reason: str = ""
    ) -> Answer | None:
        """Ask the store and go where it says; None when it is away."""
        machine, key, runtime = this
        store = cast("BreakerStore", self._store)
        now = runtime.now()
        with self._lock:
            question = machine.ask(errand)
            reason = reason or machine.reason
            if now < self._away_until:  # for all keys, so that they do not each wait for nothing
                machine.unheard(question, lease)
                return None
        try:
            answer = await store.answer(question, key_text(key), lease, reason, runtime)
        except BaseException as error:
            with self._lock:
                machine.unheard(question, lease)
            if isinstance(error, StoreUnavailable):
                self._away_until = runtime.now() + self._refresh
                self._turn(str(error), runtime, away=True)
            elif errand not in _REPORTS or not isinstance(error, (DeadlineExceeded, WouldBlock)):
                raise  # a report must not take the place of what the call came to
            return None
        if self._away:
            self._turn("the store answers again", runtime, away=False)
        with self._lock:
            if self._mode == "enforce":
                machine.learn(question, answer, runtime.now())
        if machine.changes:
            self._tell(machine, key)
        return answer

    def _turn(self, reason: str, runtime: Runtime, *, away: bool) -> None:
        """Tell the first call that finds the store away, and the first that finds it back."""
        with self._lock:
            if self._away == away:
                return
            self._away = away
        publish(BreakerStoreChanged(name=self.name, at=runtime.now(), away=away, reason=reason))

"""A limiter's counts in this process, shared by its threads, tasks and event loops."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from escala.kernel.runtime import Parker, Runtime
from escala.limiting.decision import Decision
from escala.limiting.plan import Plan
from escala.limiting.pure.algorithms import machine_of
from escala.limiting.pure.line import Turn, WaitingLines

_TICK = 0.001
_ON_TIME = 1e-8  # nearer than this is now; it also keeps a rounded clock from waiting for itself


class MemoryLedger:
    """The `Ledger` of limiters without a store, and of those whose store is away.

    Of `max_keys` keys state is kept; `share` is the number of equal parts that the limit is
    divided into, this being one of them. `take` waits for its turn by itself, so the seconds it
    answers with are always 0.
    """

    def __init__(self, plan: Plan, *, max_keys: int = 100_000, share: int = 1) -> None:
        self.plan = plan
        self.machine = machine_of(plan, max_keys, share)
        self.lines = WaitingLines[Parker](self.machine)
        # Reentrant: the garbage collector may close an abandoned wait, which leaves its line,
        # in the middle of this thread's own turn.
        self.lock = threading.RLock()

    def decide(self, key: Hashable, cost: int, runtime: Runtime) -> Decision:
        """Take tokens if they are there and no one waits for them."""
        with self.lock:
            now = runtime.now()
            told = self.lines.settle(key, now)
            decision = self._decision(key, cost, now)
        self._tell(told, runtime)
        return decision

    async def take(
        self, key: Hashable, cost: int, runtime: Runtime, wait: float = 0.0
    ) -> tuple[Decision, float]:
        """Take tokens, waiting in line for them up to `wait` seconds."""
        turn: Turn[Parker] | None = None
        with self.lock:
            now = runtime.now()
            told = self.lines.settle(key, now)
            decision = self._decision(key, cost, now)
            if not decision.allowed and decision.retry_after <= wait:
                turn = self.lines.join(key, cost, now)
        self._tell(told, runtime)
        if turn is None:
            return decision, 0.0
        return await self._turn(turn, now + wait, runtime), 0.0

    async def peek(self, key: Hashable, runtime: Runtime) -> Decision:
        """How a call of cost 1 would fare now."""
        with self.lock:
            now = runtime.now()
            told = self.lines.settle(key, now)
            owed = self.lines.owed(key)
            if owed or self.machine.wait(key, 1, now):
                decision = self.machine.refusal(key, 1, now, owed)
            else:
                decision = self.machine.granted(key, now)
        self._tell(told, runtime)
        return decision

    async def reset(self, key: Hashable, runtime: Runtime) -> None:
        """Forget what a key has used; those who wait for it are served as if they came now."""
        with self.lock:
            now = runtime.now()
            self.machine.forget(key)
            told = self.lines.moved(key, now)
        self._tell(told, runtime)

    async def refund(self, key: Hashable, cost: int, runtime: Runtime) -> None:
        """Give back tokens that were not used; they go to the first in line."""
        with self.lock:
            now = runtime.now()
            self.machine.give_back(key, cost, now)
            told = self.lines.moved(key, now)
        self._tell(told, runtime)

    def close(self) -> None:
        """Nothing is held."""

    def _decision(self, key: Hashable, cost: int, now: float) -> Decision:
        owed = self.lines.owed(key)
        if owed:
            return self.machine.refusal(key, cost, now, owed)
        return self.machine.decide(key, cost, now)

    async def _turn(self, turn: Turn[Parker], until: float, runtime: Runtime) -> Decision:
        """Return when the turn has come, or at `until` without it."""
        try:
            while True:
                parker = runtime.parker()
                with self.lock:
                    now = runtime.now()
                    told = self.lines.settle(turn.key, now + _ON_TIME)
                    if turn.granted or now >= until:
                        break
                    turn.waker = parker
                    due = max(turn.due, self.lines.first_due(turn.key))
                self._tell(told, runtime)
                await parker.park(max(min(due, until) - now, _TICK))
        except BaseException:
            self._leave(turn, runtime)
            raise
        self._tell(told, runtime)
        if not turn.granted:
            self._leave(turn, runtime)
        with self.lock:
            now = runtime.now()
            if turn.granted:
                return self.machine.granted(turn.key, now)
            return self.machine.refusal(turn.key, turn.cost, now, self.lines.owed(turn.key))

    def _leave(self, turn: Turn[Parker], runtime: Runtime) -> None:
        with self.lock:
            told = self.lines.leave(turn, runtime.now())
        self._tell(told, runtime)

    def _tell(self, turns: list[Turn[Parker]], runtime: Runtime) -> None:
        """Wake those who are served, or whose moment is nearer now."""
        while turns:
            turn = turns.pop(0)
            with self.lock:
                waker, turn.waker = turn.waker, None
            if waker is None or waker.unpark():
                continue
            with self.lock:  # its event loop is closed: on to the next
                turns += self.lines.leave(turn, runtime.now())

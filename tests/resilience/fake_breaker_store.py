"""A breaker's store in memory: what the script does in Redis, by the world's clock."""

from __future__ import annotations

import itertools
from typing import Any

from escala.errors import StoreUnavailable
from escala.kernel.runtime import Runtime
from escala.resilience import BreakerState, CircuitBreaker
from escala.resilience.pure.shared_breaker import Answer, Question


class Record:
    def __init__(self, cooldown: float) -> None:
        self.state, self.reason, self.known = BreakerState.CLOSED, "", False
        self.ends, self.cooldown, self.passed = 0.0, cooldown, 0
        self.leases: dict[str, float] = {}


class FakeBreakerStore:
    """Give it to several breakers: `share(breaker)`. It can be `away`, and slow (`delay`)."""

    def __init__(self, **options: Any) -> None:
        self.options = CircuitBreaker(**options).options
        self.records: dict[str, Record] = {}
        self.questions: list[Question] = []
        self.away, self.delay, self.closed = False, 0.0, 0
        self._count = itertools.count(1)

    def share(self, breaker: CircuitBreaker) -> CircuitBreaker:
        breaker._store = self  # type: ignore[assignment]
        return breaker

    def close(self) -> None:
        self.closed += 1

    def lease(self) -> str:
        return f"probe {next(self._count)}"

    async def answer(
        self, question: Question, key: str, lease: str, reason: str, runtime: Runtime
    ) -> Answer:
        self.questions.append(question)
        if self.delay:
            await runtime.sleep(self.delay / 2)
        if self.away:
            raise StoreUnavailable("away")
        answer = self._answer(question, key, lease, reason, runtime.now())
        if self.delay:
            await runtime.sleep(self.delay / 2)
        return answer

    def _answer(self, question: Question, key: str, lease: str, reason: str, now: float) -> Answer:
        record = self.records.setdefault(key, Record(self.options.cooldown))
        for each in question.given_back:
            record.leases.pop(each, None)
        granted = False
        if question.errand == "open" and record.state is BreakerState.CLOSED:
            self._enter(record, BreakerState.OPEN, reason, now)
        elif question.errand == "probe":
            granted = self._probe(record, question, lease, now)
        elif question.errand in ("passed", "failed") and record.leases.pop(lease, 0.0):
            self._ended(record, question, reason, now)
        left = 0.0
        if record.state is BreakerState.OPEN:
            left = max(0.0, record.ends - now)
        elif record.state is BreakerState.HALF_OPEN and not granted:
            left = min([record.cooldown, *(ends - now for ends in record.leases.values())])
        return Answer(record.known, record.state, left, granted, record.reason)

    def _probe(self, record: Record, question: Question, lease: str, now: float) -> bool:
        cooled = record.state is BreakerState.OPEN and now >= record.ends
        lost = record.state is BreakerState.CLOSED and (question.opened or not record.known)
        if cooled or lost:
            self._enter(record, BreakerState.HALF_OPEN, "the cooldown is over", now)
        record.leases = {each: ends for each, ends in record.leases.items() if ends > now}
        out = len(record.leases) + record.passed
        if record.state is not BreakerState.HALF_OPEN or out >= self.options.probes:
            return False
        record.leases[lease] = now + self.options.probe_lease
        return True

    def _ended(self, record: Record, question: Question, reason: str, now: float) -> None:
        if question.errand == "failed":
            if self.options.cooldown_cap is not None:
                record.cooldown = min(self.options.cooldown_cap, 2 * record.cooldown)
            self._enter(record, BreakerState.OPEN, reason, now)
            return
        record.passed += 1
        if record.passed >= self.options.probes:
            record.cooldown = self.options.cooldown
            told = f"{record.passed} of {self.options.probes} probes passed"
            self._enter(record, BreakerState.CLOSED, told, now)

    def _enter(self, record: Record, state: BreakerState, reason: str, now: float) -> None:
        record.state, record.reason, record.known, record.passed = state, reason, True, 0
        record.ends, record.leases = now + record.cooldown, {}

"""What the calls of one hedge share: when a copy is due, how many there may be, who won."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from escala.kernel.at_fork import begin_anew, free
from escala.kernel.context import current
from escala.kernel.events import publish
from escala.resilience.events import Hedged
from escala.resilience.hedge_delay import HedgeDelay
from escala.resilience.pure.latency_digest import LatencyDigest
from escala.resilience.retry_budget import RetryBudget


class HedgeDesk:
    """Copies ask here before they start, and report what came of it; from any thread or task."""

    def __init__(
        self,
        name: str,
        after: HedgeDelay,
        budget: RetryBudget | None,
        judge: Callable[[Any], bool] | None,
        discard: Callable[[Any], None] | None,
    ) -> None:
        self._name, self._budget = name, budget
        self._fixed, self._per_mille = after.seconds, after.per_mille
        self.judge, self.discard = judge, discard
        self._lock = threading.RLock()
        self._begin()
        begin_anew(self, HedgeDesk._forked)

    def _begin(self) -> None:
        each = self._per_mille
        self._digest = None if each is None else LatencyDigest(each)
        self._copies = self._won = 0

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    @property
    def after(self) -> float | None:
        """How many seconds a call may take before its copy; None while no one can say."""
        return self._fixed if self._digest is None else self._digest.value

    def snapshot(self) -> dict[str, float]:
        """For metrics."""
        after = self.after
        with self._lock:
            told = {"copies": float(self._copies), "won": float(self._won)}
        return told if after is None else {**told, "after": float(after)}

    def call(self, now: float) -> None:
        """Count a call that may be hedged."""
        if self._budget is not None:
            self._budget.call(now)

    def may_copy(self, now: float) -> bool:
        """Whether there is budget for a copy; if so, `give_back` it when that has ended."""
        return self._budget is None or self._budget.take(now)

    def give_back(self) -> None:
        """A copy has ended, however it did, or could not be started after all."""
        if self._budget is not None:
            self._budget.give_back()

    def copied(self, number: int, after: float, now: float) -> None:
        """Tell that a copy was started."""
        with self._lock:
            self._copies += 1
        request = current.get()
        if request is not None:
            request.notes["copies"] = str(number)
        publish(Hedged(name=self._name, at=now, copy=number, after=after))

    def won(self) -> None:
        """A copy was faster than the call itself."""
        with self._lock:
            self._won += 1

    def learn(self, seconds: float) -> None:
        """The call itself took so long, or at least so long: it was cut short when a copy won.

        Both are samples. Were those that lost left out, the percentile would sink with each.
        """
        if self._digest is not None:
            with self._lock:
                self._digest.add(seconds)

    def failed(self, value: Any) -> bool:  # noqa: ANN401  whatever a call may return
        """Whether a value was judged a failure."""
        return self.judge is not None and self.judge(value)

    def drop(self, value: Any) -> None:  # noqa: ANN401  likewise
        """Let go of a value that no one will read."""
        if self.discard is not None:
            self.discard(value)

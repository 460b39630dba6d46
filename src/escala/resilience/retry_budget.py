"""Keep retries a small share of all calls, so that an outage does not double its own load."""

from __future__ import annotations

import threading
from typing import Annotated

import msgspec

from escala.kernel.at_fork import begin_anew, free
from escala.kernel.config import options
from escala.kernel.units import PositiveDuration, Share
from escala.kernel.writer import differing
from escala.resilience.pure.budget import BudgetMachine


class _Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    share: Share
    floor: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 3
    window: PositiveDuration = PositiveDuration(10.0)


class RetryBudget:
    """Limit the retries that several `Retry` policies make together: give each the same budget.

    - `share`: of the calls begun in the last `window`, how many may be retries ("20%").
    - `floor`: so many may be under way at once (waiting for their moment, or running) before the
      share is looked at; a service with few calls would otherwise never retry at all.

    Threads and tasks share one; each call costs O(1), and memory is constant. Calls are counted
    by tenths of the window, so one counts for at least 0.9 and at most 1.0 times `window`.
    """

    __slots__ = ("__weakref__", "_lock", "_machine", "options")

    def __init__(
        self, share: float | str = "20%", *, floor: int = 3, window: float | str = "10s"
    ) -> None:
        given = {"share": share, "floor": floor, "window": window}
        self.options = options(_Options, given, where="RetryBudget")
        # Reentrant: the garbage collector may close an abandoned call, which gives back, in the
        # middle of this thread's own turn.
        self._lock = threading.RLock()
        self._begin()
        begin_anew(self, RetryBudget._forked)

    def _begin(self) -> None:
        chosen = self.options
        self._machine = BudgetMachine(share=chosen.share, floor=chosen.floor, window=chosen.window)

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    def __repr__(self) -> str:
        words = [repr(self.options.share.text)]
        words += [
            f"{key}={value!r}" for key, value in differing(self.options).items() if key != "share"
        ]
        return f"RetryBudget({', '.join(words)})"

    @property
    def under_way(self) -> int:
        """Retries that were granted and have not ended."""
        return self._machine.under_way

    def call(self, now: float) -> None:
        """Count a call, at its first attempt."""
        try:  # half the cost of `with`, and no interrupt can leave the lock behind either
            self._lock.acquire()
            self._machine.call(now)
        finally:
            self._lock.release()

    def take(self, now: float) -> bool:
        """Ask for a retry; when granted, `give_back` it at its end."""
        with self._lock:
            return self._machine.take(now)

    def give_back(self) -> None:
        """A granted retry has ended, however it did."""
        with self._lock:
            self._machine.give_back()

"""Give a whole call a limited time, all its attempts, waits and queues included."""

from __future__ import annotations

from typing import ClassVar

from escala.resilience.time_limit import TimeLimit


class Deadline(TimeLimit):
    """Answer within a time, whatever happens inside: put it outermost.

    - `after`: seconds, or text such as "3s".

    Everything inside knows the deadline (`context.deadline()`, inherited by tasks started
    inside) and plans with it: `Retry` begins no wait that would outlast it, `Bulkhead` queues no
    longer, a nested `Timeout` or `Deadline` can only shorten it. Raises `DeadlineExceeded`, a
    `TimeoutError`.

    A task is cancelled at the moment. **A thread cannot be interrupted**: in sync code what waits
    obeys the deadline, and your own function runs to its end; see `Timeout`.
    """

    kind: ClassVar[str] = "deadline"
    told: ClassVar[str] = (
        "the call with all its attempts and waits took longer than {}; "
        "give it more time, or fewer and shorter attempts"
    )

    def __init__(self, after: float | str, *, name: str = "deadline") -> None:
        super().__init__(after, name=name)

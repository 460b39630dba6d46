"""Give one attempt of a call a limited time, so that a slow one can be given up and repeated."""

from __future__ import annotations

from typing import ClassVar

from escala.resilience.time_limit import TimeLimit


class Timeout(TimeLimit):
    """Give up on one attempt after a while: put it innermost, inside `Retry` and the breaker.

    - `after`: seconds, or text such as "500ms".

    Raises `DeadlineExceeded`, a `TimeoutError`; a `Retry` around it tries again while the time
    of the whole call lasts, and a `CircuitBreaker` around it counts a failure. When a `Deadline`
    further out ends first, it is that one that ends the call, and neither happens.

    A task is cancelled at the moment. **A thread cannot be interrupted**: sync code gets a
    deadline in `context.deadline()` that everything of Escala that waits obeys (sleeps, queues,
    sockets, stores), and your own function runs to its end. Give `context.remaining()` to the
    timeout of the client it uses.
    """

    kind: ClassVar[str] = "timeout"
    told: ClassVar[str] = (
        "one attempt took longer than {}; give it more time, or find what makes it slow"
    )

    def __init__(self, after: float | str, *, name: str = "timeout") -> None:
        super().__init__(after, name=name)

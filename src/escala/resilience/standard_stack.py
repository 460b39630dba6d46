"""The stack to begin with: five policies in the order that fits a call to another service."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

import msgspec

from escala.kernel.config import options
from escala.kernel.policy import Scope
from escala.kernel.stack import Stack
from escala.kernel.units import PositiveDuration, PositiveShare, Share
from escala.resilience.bulkhead import Bulkhead
from escala.resilience.circuit_breaker import CircuitBreaker
from escala.resilience.deadline import Deadline
from escala.resilience.failure_kinds import Kinds
from escala.resilience.retry import Retry
from escala.resilience.retry_budget import RetryBudget
from escala.resilience.spelling import spelled
from escala.resilience.timeout import Timeout


class Standard(Stack):
    """Surround calls to one dependency with what every such call should have.

    Outermost first: `Deadline` for the whole call, `Retry` of what failed by chance, a
    `CircuitBreaker`, a `Bulkhead`, and a `Timeout` for each attempt. Make one for each
    dependency and keep it, since it remembers how that dependency fares. It is a `Stack`, and
    `repr` of its `policies` shows all that is in force.

    - `deadline`, `timeout`: for the call with all its attempts, and for one attempt.
    - `attempts`, `budget`, `unsafe`: how often in all, for what share of calls, and whether also
      what is not idempotent; see `Retry`.
    - `failure_rate`, `cooldown`: see `CircuitBreaker`. It opens after at least 20 calls in 10 s
      and closes after 3 probes.
    - `slots`, `queue`: how many calls run at once, and how many wait for that; see `Bulkhead`.

    Arguments for code only, each as in `Retry`; `on` and `judge` are the breaker's as well. Left
    out, `on` is what each takes by itself: the breaker counts every exception, and retry repeats
    only what fails by chance.

    Raises what the policies raise: `DeadlineExceeded`, `CircuitOpen`, `BulkheadFull`, or the
    call's own last error.

    >>> shop = Standard(attempts=4, timeout="1s", name="shop")
    >>> shop.call(len, "tea")
    3
    """

    kind: ClassVar[str] = "standard"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """What differs most from one dependency to another; take single policies for the rest."""

        deadline: PositiveDuration = PositiveDuration(10.0)
        """How long the call may take with all its attempts."""
        attempts: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 3
        """How many tries in all."""
        budget: Share | None = Share("20%")
        """The share of recent calls that may be retries, beyond three at once."""
        unsafe: bool = False
        """Repeat also what is not idempotent, such as POST."""
        failure_rate: PositiveShare = PositiveShare("50%")
        """The share of failed calls that opens the circuit."""
        cooldown: PositiveDuration = PositiveDuration(5.0)
        """How long the open circuit refuses every call before it probes."""
        slots: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100
        """How many calls may run at once."""
        queue: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 100
        """How many more may wait."""
        timeout: PositiveDuration = PositiveDuration(3.0)
        """How long one attempt may take."""

    def __init__(
        self,
        *,
        deadline: float | str = "10s",
        attempts: int = 3,
        budget: float | str | RetryBudget | None = "20%",
        unsafe: bool = False,
        failure_rate: float | str = "50%",
        cooldown: float | str = "5s",
        slots: int = 100,
        queue: int = 100,
        timeout: float | str = "3s",
        on: Kinds | None = None,
        judge: Callable[[Any], bool] | None = None,
        hint: Callable[[Any], float | None] | None = None,
        discard: Callable[[Any], None] | None = None,
        rng: random.Random | None = None,
        name: str = "standard",
    ) -> None:
        self.name = name
        shared = budget if isinstance(budget, RetryBudget) else None
        given = {
            "deadline": deadline,
            "attempts": attempts,
            "budget": shared.options.share if shared else budget,
            "unsafe": unsafe,
            "failure_rate": failure_rate,
            "cooldown": cooldown,
            "slots": slots,
            "queue": queue,
            "timeout": timeout,
        }
        self.options = mine = options(self.Options, given, where="standard")
        self._code = {
            "budget": shared,
            "on": on,
            "judge": judge,
            "hint": hint,
            "discard": discard,
        }
        kinds: dict[str, Any] = {} if on is None else {"on": on}
        super().__init__(
            Deadline(mine.deadline, name=f"{name}.deadline"),
            Retry(
                mine.attempts,
                budget=shared or mine.budget,
                unsafe=mine.unsafe,
                judge=judge,
                hint=hint,
                discard=discard,
                rng=rng,
                name=f"{name}.retry",
                **kinds,
            ),
            CircuitBreaker(
                failure_rate=mine.failure_rate,
                cooldown=mine.cooldown,
                probes=3,
                judge=judge,
                name=f"{name}.circuit_breaker",
                **kinds,
            ),
            Bulkhead(mine.slots, queue=mine.queue, name=f"{name}.bulkhead"),
            Timeout(mine.timeout, name=f"{name}.timeout"),
        )

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the stack from its options; each of several processes gets its part of the slots."""
        given = msgspec.structs.asdict(options)
        given["slots"] = -(-options.slots // scope.share)
        given["queue"] = -(-options.queue // scope.share)
        return cls(
            **given,
            judge=scope.judge,
            hint=scope.hint,
            discard=scope.discard,
            name=scope.label(cls.kind),
        )

    def __repr__(self) -> str:
        return spelled(self, self.options, name=self.name, **self._code)


standard = Standard
"""The way to say it in code: `pay = standard(timeout="1s", name="payments")`."""

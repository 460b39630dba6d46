"""Ask a second time when the first answer is slow, and take whichever comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self, TypeVar

import msgspec

from escala.kernel.config import options
from escala.kernel.context import current
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Runtime
from escala.kernel.units import Share
from escala.resilience.bare_decorator import refuse_bare
from escala.resilience.hedge_copies import Copies
from escala.resilience.hedge_delay import HedgeDelay
from escala.resilience.hedge_desk import HedgeDesk
from escala.resilience.pure.hedge import HedgeRace
from escala.resilience.repeatable import may_repeat
from escala.resilience.retry_budget import RetryBudget
from escala.resilience.spare_threads import SpareThreads
from escala.resilience.spelling import spelled
from escala.resilience.user_function import Asker

T = TypeVar("T")


class Hedge(Policy):
    """Start a copy of a call that is slow, return the first answer and cancel the other call.

    Reach for it where a call is sometimes slow for no reason of its own (a queue behind one
    replica, a lost packet, a pause of the garbage collector), and asking again, preferably
    elsewhere, would be faster than waiting.

    - `after`: how long the call may take before its copy starts: a time, or a percentile of the
      last thousand successful calls. "p95" copies about one call in twenty. There is no
      percentile before 20 calls (100 for "p99"), and until then no copy.
    - `most`: how many run at once in all; each waits for `after` behind the one before.
    - `budget`: the share of the calls of the last ten seconds that may be copies, beyond one at
      once; or a `RetryBudget` that several policies share; or None for no limit. When everything
      is slow, copies would only make it slower.
    - `threads`: sync code only, and how many threads it may use.

    Arguments for code only:

    - `judge`: says of a returned value whether it is a failure; the first success wins.
    - `discard`: is given the values that no one will read.

    When all copies that were started have failed, the call ends as the first of them did. Only
    what may be made twice is hedged, as `Retry` has it: not for a `Request` that says
    `idempotent=False` or cannot be sent again. `Hedged` events tell of each copy,
    `notes["copies"]` of the current request counts.

    In async code each copy is a task with a copy of the context. The losers are cancelled, and
    the answer waits for their end only while they do not wait for anything. In sync code a
    copy cannot be interrupted: each runs in one of a few daemon threads, the loser to its end,
    unless what it waits in obeys the deadline. When no thread is free, or inside a running event
    loop, the call is made in the caller's thread and without a copy.

    J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013.

    >>> hedge = Hedge("50ms")
    >>> hedge.call(len, "tea")
    3
    """

    kind: ClassVar[str] = "hedge"
    shorthand: ClassVar[str | None] = "after"
    repeats = True

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """When to start a copy, and how many."""

        after: HedgeDelay = HedgeDelay("p95")
        """How slow a call must be: a time, or a percentile of the last thousand calls."""
        most: Annotated[int, msgspec.Meta(ge=2, le=10)] = 2
        """How many may run at once, the first one included."""
        budget: Share | None = Share("5%")
        """The share of recent calls that may be copies, beyond one at once."""
        threads: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 32
        """How many threads sync code may use; a gateway uses none."""

    def __init__(
        self,
        after: float | str = "p95",
        *,
        most: int = 2,
        budget: float | str | RetryBudget | None = "5%",
        threads: int = 32,
        judge: Callable[[Any], bool] | None = None,
        discard: Callable[[Any], None] | None = None,
        name: str = "hedge",
    ) -> None:
        refuse_bare("Hedge", after)
        self.name = name
        shared = budget if isinstance(budget, RetryBudget) else None
        given = {
            "after": after,
            "most": most,
            "budget": shared.options.share if shared else budget,
            "threads": threads,
        }
        self.options = options(self.Options, given, where="Hedge")
        share = self.options.budget
        self.budget = shared or (None if share is None else RetryBudget(share, floor=1))
        self._shared = shared
        asker = Asker("Hedge", name)
        judge, discard = asker.judge(judge), asker.discard(discard)
        self._desk = HedgeDesk(name, self.options.after, self.budget, judge, discard)
        self._threads = SpareThreads(threads, name=name)

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; values are judged as the scope says."""
        return cls(
            options.after.text,
            most=options.most,
            budget=options.budget,
            threads=options.threads,
            judge=scope.judge,
            discard=scope.discard,
            name=scope.label(cls.kind),
        )

    def __repr__(self) -> str:
        desk = self._desk
        code = {"budget": self._shared, "judge": desk.judge, "discard": desk.discard}
        return spelled(self, self.options, name=self.name, **code)

    @property
    def after(self) -> float | None:
        """How many seconds a call may take before its copy; None while no one can say."""
        return self._desk.after

    def snapshot(self) -> dict[str, float]:
        """For metrics: `copies` so far, how many of them `won`, and `after` in seconds."""
        return self._desk.snapshot()

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call, and copies of it while it is slow; see the class."""
        if not may_repeat(current.get()):
            return await call()
        desk, began = self._desk, runtime.now()
        desk.call(began)
        after = desk.after
        if after is not None:
            race = HedgeRace(most=self.options.most, delay=after)
            copies = Copies(call, runtime, race, desk, self._threads.hand_over)
            if copies.start():
                return await copies.answer()
        result = await call()
        if not desk.failed(result):
            desk.learn(runtime.now() - began)
        return result

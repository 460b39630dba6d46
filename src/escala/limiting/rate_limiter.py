"""What every rate limiter can do, whatever its algorithm and wherever its counts are kept."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Hashable
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

import msgspec

from escala.errors import RateLimited
from escala.kernel.at_fork import begin_anew
from escala.kernel.context import remaining
from escala.kernel.guard import Guard
from escala.kernel.policy import Scope
from escala.kernel.runtime import Runtime, colours, drive
from escala.kernel.units import Rate, seconds
from escala.kernel.wrong_value import without_password
from escala.limiting.away_ledger import AwayLedger
from escala.limiting.decision import Decision
from escala.limiting.memory_ledger import MemoryLedger
from escala.limiting.plan import Limit, Plan
from escala.limiting.shared_ledger import open_shared
from escala.resilience.call_key import LONGEST, Grouping, call_key, key_text, short
from escala.resilience.spelling import spelled
from escala.resilience.user_function import check

MaxKeys: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Away: TypeAlias = Literal["local", "open", "closed"]

_ONE = 1  # the usual cost, told by identity; any other way to spell it takes the longer way


class RateLimiter(Guard[None]):
    """Lets so many calls pass in a time. `TokenBucket` and its siblings say by which rule.

    As a policy it raises `RateLimited` for a call that is one too many. As an object it is asked:
    `acquire` takes tokens of a key, `peek` looks, `refund` gives back, `reset` forgets; each has
    an `a` twin for async code. A key is text, bytes, a whole number or a tuple of those, and
    anything else a `TypeError`.
    """

    algorithm: ClassVar[str]
    shorthand: ClassVar[str | None] = "limit"
    options: Any

    def _begin(self, options: Any, key: str | Grouping | None, name: str) -> None:  # noqa: ANN401  each limiter's own
        if callable(key):
            check(key, "key", where=type(self).__name__)
        self.options, self.name = options, name
        self._key: str | None = options.key
        self._groups: str | Grouping | None = key
        self.plan = self._plan()
        self._longest, self._bound = self._waits()
        self._ledger: AwayLedger | None = None
        if options.store is not None:
            self._ledger = open_shared(
                options.store, self.plan, away=options.away, max_keys=options.max_keys
            )
        self._count(share=1)
        begin_anew(self, RateLimiter._forked)

    def _forked(self) -> None:
        self._count(self._share)

    def _count(self, share: int) -> None:
        """Begin to count in memory, one of `share` equal parts of the limits."""
        self._share = share
        self._memory = MemoryLedger(self.plan, max_keys=self.options.max_keys, share=share)
        self._lock, self._waiting = self._memory.lock, self._memory.lines.lines
        self._machine, self._take = self._memory.machine, self._memory.machine.take
        self._most = min(limit.burst for limit in self._machine.limits)
        self._at_once = self._ledger is None and not self._longest

    def _plan(self) -> Plan:
        limits = tuple([self._limit(rate) for rate in self.options.limit.each])
        return Plan(algorithm=self.algorithm, limits=limits, name=self.name, strict=self._strict())

    def _burst(self, rate: Rate) -> int | None:
        """The `burst` option, which is that of the limit with the shortest period."""
        shortest = min(each.per for each in self.options.limit.each)
        return self.options.burst if rate.per == shortest else None

    @abstractmethod
    def _limit(self, rate: Rate) -> Limit:
        """One limit in the algorithm's terms."""

    def _strict(self) -> bool:
        """Whether no period may ever hold more than a limit counts."""
        return False

    def _waits(self) -> tuple[float, float]:
        """How long a call waits for its turn when it does not say, and when it does at most."""
        return float(self.options.wait), math.inf

    @classmethod
    def build(cls, options: Any, scope: Scope) -> Self:  # noqa: ANN401  each limiter's own
        """Make the policy from its options; each of several processes gets its part.

        With a `store` they all count there, and there are no parts.
        """
        make: Callable[..., Self] = cls
        made = make(**msgspec.structs.asdict(options), name=scope.label(cls.kind))
        if options.store is None and scope.share > 1:
            made._count(scope.share)  # noqa: SLF001  one of our own
        elif made._ledger is not None:  # noqa: SLF001
            made._ledger.divide(scope.share)  # noqa: SLF001
        return made

    def __repr__(self) -> str:
        options = self.options
        if options.store is not None:
            options = msgspec.structs.replace(options, store=without_password(options.store))
        return spelled(self, options, name=self.name, key=self._groups)

    def snapshot(self) -> dict[str, float]:
        """For metrics: `keys` with state in memory, and calls `waiting` for their turn.

        With a store: whether that is away (`store_away`), and how many calls were decided
        `without_store`.
        """
        if self._ledger is not None:
            return self._ledger.snapshot()
        with self._lock:
            return {
                "keys": float(len(self._machine.keys)),
                "waiting": float(self._memory.lines.waiting()),
            }

    def enter(self, runtime: Runtime) -> Coroutine[Any, Any, None] | None:
        """Let a call in that is within the limit, or when its turn comes; see the class."""
        key = "" if self._groups is None else call_key(self._groups, self.name)
        if not self._at_once:
            return self._turn(key, runtime)
        try:  # half the cost of `with`, and no interrupt can leave the lock behind either
            self._lock.acquire()
            granted = not self._waiting and not self._take(key, 1, runtime.now())
        finally:
            self._lock.release()
        if not granted:
            decision = self._memory.decide(key, 1, runtime)
            if not decision.allowed:
                raise self.refused(key, decision)
        return None

    def passed(self, permit: None, answer: object, runtime: Runtime) -> None:
        """A limiter does not look at how a call ends."""

    def failed(self, permit: None, error: BaseException, runtime: Runtime) -> None:
        """A limiter does not look at how a call ends."""

    async def _turn(self, key: Hashable, runtime: Runtime) -> None:
        decision = await self._acquire(key, 1, None, runtime)
        if not decision.allowed:
            raise self.refused(key, decision)

    def acquire(
        self, key: Hashable = "", cost: int = 1, wait: float | str | None = None
    ) -> Decision:
        """Take `cost` tokens of a key, waiting up to `wait` seconds for them.

        Without `wait` it is the limiter's own, which is 0 unless said otherwise: the answer comes
        at once. Those who wait are served in the order they came; when one stops waiting, those
        behind it move up. The deadline around the call shortens the wait, and a wait that could
        not succeed is not begun. Raises `ValueError` for a cost that can never be granted, and
        `WouldBlock` when it has to wait inside a running event loop.
        """
        if cost is not _ONE or key.__class__ is not str or len(key) > LONGEST:
            key = self._checked(key, cost)
        if wait is None and self._at_once:
            with self._lock:
                if not self._waiting:
                    return self._machine.decide(key, cost, colours.thread.now())
            return self._memory.decide(key, cost, colours.thread)
        if wait is None and not self._longest and self._ledger is not None:
            return drive(self._ledger.take(key_text(key), cost, colours.thread))[0]
        return drive(self._acquire(key, cost, wait, colours.thread))

    async def aacquire(
        self, key: Hashable = "", cost: int = 1, wait: float | str | None = None
    ) -> Decision:
        """Take tokens as `acquire` does, waiting as a task."""
        if cost is not _ONE or key.__class__ is not str or len(key) > LONGEST:
            key = self._checked(key, cost)
        if wait is None and self._at_once:
            with self._lock:
                if not self._waiting:
                    return self._machine.decide(key, cost, colours.loop.now())
            return self._memory.decide(key, cost, colours.loop)
        if wait is None and not self._longest and self._ledger is not None:
            return (await self._ledger.take(key_text(key), cost, colours.loop))[0]
        return await self._acquire(key, cost, wait, colours.loop)

    def peek(self, key: Hashable = "") -> Decision:
        """How a call of cost 1 would fare now; takes nothing."""
        return drive(self._peek(key, colours.thread))

    async def apeek(self, key: Hashable = "") -> Decision:
        """Look as `peek` does."""
        return await self._peek(key, colours.loop)

    def reset(self, key: Hashable = "") -> None:
        """Forget what a key has used; those who wait for it are served as if they came now."""
        drive(self._reset(key, colours.thread))

    async def areset(self, key: Hashable = "") -> None:
        """Forget as `reset` does."""
        await self._reset(key, colours.loop)

    def refund(self, key: Hashable = "", cost: int = 1) -> None:
        """Give back tokens that a call took and did not use; never beyond a full limit.

        Soon: tokens that time has brought back meanwhile cannot be told from unused ones.
        """
        drive(self._refund(key, cost, colours.thread))

    async def arefund(self, key: Hashable = "", cost: int = 1) -> None:
        """Give back as `refund` does."""
        await self._refund(key, cost, colours.loop)

    def close(self) -> None:
        """Let go of the store's connections, if there is a store; may be called twice."""
        if self._ledger is not None:
            self._ledger.close()

    async def _acquire(
        self, key: Hashable, cost: int, wait: float | str | None, runtime: Runtime
    ) -> Decision:
        longest = self._longest if wait is None else min(self._bound, seconds(wait))
        if longest > 0:
            longest = max(0.0, min(longest, remaining(runtime.now())))
        if self._ledger is None:
            decision, _ = await self._memory.take(key, cost, runtime, longest)
            return decision
        text = key_text(key)
        decision, sleep = await self._ledger.take(text, cost, runtime, longest)
        if sleep > 0:
            try:
                await runtime.sleep(sleep)
            except GeneratorExit:  # no one is left to wait for the store
                raise
            except BaseException:
                await self._ledger.refund(text, cost, runtime)
                raise
        return decision

    async def _peek(self, key: Hashable, runtime: Runtime) -> Decision:
        key = self._checked(key, 1)
        if self._ledger is None:
            return await self._memory.peek(key, runtime)
        return await self._ledger.peek(key_text(key), runtime)

    async def _reset(self, key: Hashable, runtime: Runtime) -> None:
        key = self._checked(key, 1)
        if self._ledger is None:
            return await self._memory.reset(key, runtime)
        return await self._ledger.reset(key_text(key), runtime)

    async def _refund(self, key: Hashable, cost: int, runtime: Runtime) -> None:
        key = self._checked(key, cost)
        if self._ledger is None:
            return await self._memory.refund(key, cost, runtime)
        return await self._ledger.refund(key_text(key), cost, runtime)

    def _checked(self, key: Hashable, cost: int) -> Hashable:
        if cost.__class__ is not int or cost < 1:
            raise ValueError(
                f"{self.name}: expected a cost of at least 1 that is a whole number, found {cost!r}"
            )
        if cost > self._most:
            raise ValueError(
                f"{self.name}: a cost of {cost} can never be granted, since at most {self._most} "
                "may pass at once; split it, or raise the burst"
            )
        return short(key, self.name)

    def current_key(self) -> Hashable:
        """The key that a call counts under now, as `enter` takes it from the current request."""
        return "" if self._groups is None else call_key(self._groups, self.name)

    def refused(self, key: Hashable, decision: Decision) -> RateLimited:
        """The error for a decision of this limiter's that lets a call not pass."""
        text = self.plan.limits[decision.decided_by].text
        if decision.away and self.options.away == "closed":
            reason = f"the store in which the limit of {text} is counted is away"
            return RateLimited(self.name, reason, decision.retry_after)
        part = f" (1 of {self._share} processes' shares)" if self._share > 1 else ""
        whose = f" for this {self._key}" if self._key and key != "" else ""
        reason = f"the limit of {text}{part} is used up{whose}"
        return RateLimited(self.name, reason, decision.retry_after)

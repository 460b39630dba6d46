"""Let so many calls pass per second, for each client if you like, with room for a short burst."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from hashlib import sha256
from typing import Annotated, ClassVar, Self, TypeAlias, TypeVar

import msgspec

from escala.errors import RateLimited
from escala.kernel.config import options
from escala.kernel.context import Request, current, remaining
from escala.kernel.policy import Next, Policy, Scope
from escala.kernel.runtime import Parker, Runtime, colours, drive
from escala.kernel.units import Rate, seconds
from escala.limiting.decision import Decision
from escala.limiting.pure.gcra import GcraMachine
from escala.limiting.pure.line import Turn, WaitingLines
from escala.resilience.spelling import spelled

T = TypeVar("T")
Grouping: TypeAlias = Callable[[Request | None], Hashable]

_TICK = 0.001
_LONGEST_KEY = 64
_ON_TIME = 1e-6  # nearer than this is now; it also keeps a rounded clock from waiting for itself


class TokenBucket(Policy):
    """Limit calls to a rate; what a quiet moment has saved may come at once, up to `burst`.

    - `limit`: "200/s", "100/min", "10/30s".
    - `burst`: how many may come at once after a quiet moment; by default as many as the limit
      counts. In any time t at most burst + rate * t calls pass.
    - `key`: which calls count together. None: all. A name such as "client_ip" or "tenant": those
      whose `current_request().get(name)` is the same. Or a function of the current request (or
      None). Calls without a value share one bucket.
    - `max_keys`: for so many keys it keeps their state, about 150 bytes each. A key whose bucket
      is full again makes room for a new one at no loss. When more than that are in use at once,
      the one nearest to full, of the eight looked at, is forgotten: **its next calls find a full
      bucket**, up to `burst` more than the limit allows.

    As a policy it raises `RateLimited`, whose `retry_after` is exact if no one else comes.
    `acquire` (and `aacquire`) answer with a `Decision` instead. The algorithm is GCRA: one number
    a key, no thread, no timer.

    >>> limiter = TokenBucket("10/min", burst=2)
    >>> [limiter.acquire("ann").allowed for _ in range(3)]
    [True, True, False]
    """

    kind: ClassVar[str] = "rate_limit"
    shorthand: ClassVar[str | None] = "limit"

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """How many per time, how many at once, and which calls count together."""

        limit: Rate
        """How many calls per time."""
        burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
        """How many may come at once after a quiet moment; as many as the limit counts if unset."""
        key: str | None = None
        """Which calls count together, such as "client_ip"; all of them if unset."""
        max_keys: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 100_000
        """For how many keys state is kept."""

    def __init__(
        self,
        limit: str | float | Rate,
        *,
        burst: int | None = None,
        key: str | Grouping | None = None,
        max_keys: int = 100_000,
        name: str = "rate_limit",
    ) -> None:
        self.name = name
        self._grouping = key if callable(key) else None
        name_of_key = None if callable(key) else key
        given = {"limit": limit, "burst": burst, "key": name_of_key, "max_keys": max_keys}
        self.options = options(self.Options, given, where="TokenBucket")
        self._key = self.options.key
        self._ready(share=1)
        # Reentrant: the garbage collector may close an abandoned wait, which gives its tokens
        # back, in the middle of this thread's own turn.
        self._lock = threading.RLock()

    def _ready(self, share: int) -> None:
        """Begin with full buckets, one of `share` equal parts of the limit."""
        limit = self.options.limit
        burst = self.options.burst or max(1, int(limit.count))
        self._machine = GcraMachine(
            rate=limit.per_second / share,
            burst=max(1, burst // share),
            max_keys=self.options.max_keys,
        )
        self._lines = WaitingLines[Parker](self._machine.keys, self._machine.burst)
        part = "" if share == 1 else f" (1 of {share} processes' shares)"
        self._reason = f"the limit of {limit.text}{part} is used up"

    @classmethod
    def build(cls, options: Options, scope: Scope) -> Self:
        """Make the policy from its options; each of several processes gets its part."""
        made = cls(
            options.limit,
            burst=options.burst,
            key=options.key,
            max_keys=options.max_keys,
            name=scope.label(cls.kind),
        )
        made._ready(scope.share)
        return made

    def __repr__(self) -> str:
        return spelled(self, self.options, name=self.name, key=self._key or self._grouping)

    async def around(self, call: Next[T], runtime: Runtime) -> T:
        """Run the call if its bucket has a token; see the class."""
        key = self._current_key()
        with self._lock:
            wait = self._machine.take(key, 1, runtime.now())
        if wait:
            whose = f" for this {self._key}" if self._key and key != "" else ""
            raise RateLimited(self.name, self._reason + whose, wait)
        return await call()

    def acquire(
        self, key: Hashable = "", cost: int = 1, wait: float | str | None = None
    ) -> Decision:
        """Take `cost` tokens of a key, waiting up to `wait` seconds for them.

        Without `wait` it answers at once. Those who wait are served in the order they came; the
        tokens of one who stops waiting go to those behind it. The deadline around the call
        shortens the wait, and a wait that could not succeed is not begun. Raises `WouldBlock`
        when it has to wait inside a running event loop.
        """
        if wait is None:
            return self._decide(key, cost, colours.thread.now())
        return drive(self._acquire(key, cost, wait, colours.thread))

    async def aacquire(
        self, key: Hashable = "", cost: int = 1, wait: float | str | None = None
    ) -> Decision:
        """Take tokens as `acquire` does, waiting as a task."""
        if wait is None:
            return self._decide(key, cost, colours.loop.now())
        return await self._acquire(key, cost, wait, colours.loop)

    def _current_key(self) -> Hashable:
        if self._grouping is not None:
            key = self._grouping(current.get())
            return "" if key is None else key
        if self._key is None:
            return ""
        request = current.get()
        value = (request.get(self._key) or "") if request is not None else ""
        # A client may choose it, and memory is counted in keys: a long one is kept as a digest.
        return value if len(value) <= _LONGEST_KEY else sha256(value.encode()).digest()

    def _decide(self, key: Hashable, cost: int, now: float) -> Decision:
        if cost < 1:
            raise ValueError(f"{self.name}: expected a cost of at least 1, found {cost!r}")
        with self._lock:
            return self._machine.decide(key, cost, now)

    async def _acquire(
        self, key: Hashable, cost: int, wait: float | str, runtime: Runtime
    ) -> Decision:
        now = runtime.now()
        longest = min(seconds(wait), remaining(now))
        with self._lock:
            decision = self._decide(key, cost, now)
            if decision or decision.retry_after > longest:
                return decision
            turn = self._lines.join(key, cost)
        await self._turn(turn, runtime)
        with self._lock:
            return self._machine.look(key, runtime.now())

    async def _turn(self, turn: Turn[Parker], runtime: Runtime) -> None:
        """Return when the turn has come."""
        try:
            while True:
                parker = runtime.parker()
                with self._lock:
                    turn.waker = parker
                    left = turn.due / self._machine.rate - runtime.now()
                if left <= _ON_TIME:
                    break
                await parker.park(max(left, _TICK))
        except BaseException:
            self._end(turn, served=False)
            raise
        self._end(turn, served=True)

    def _end(self, turn: Turn[Parker], *, served: bool) -> None:
        """Take a turn out of its line and tell the next one if its moment is nearer now."""
        while True:
            with self._lock:
                following = self._lines.served(turn) if served else self._lines.left(turn)
                if following is None:
                    return
                waker, following.waker = following.waker, None
            if waker is None or waker.unpark():
                return
            turn, served = following, False  # its event loop is closed: on to the next

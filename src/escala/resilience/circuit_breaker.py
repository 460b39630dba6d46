"""Stop calling a dependency that fails, answer at once instead, and find out when it is back."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, ClassVar, Self, TypeAlias

import msgspec

from escala.errors import ConfigError
from escala.kernel.config import options
from escala.kernel.policy import Scope
from escala.kernel.runtime import Runtime
from escala.kernel.wrong_value import without_password
from escala.resilience.breaker_options import BreakerOptions
from escala.resilience.breaker_store import BreakerStore
from escala.resilience.breaker_verdict import (
    EVERY_ERROR,
    Judge,
    errors_with,
    judge_with,
)
from escala.resilience.call_key import Grouping, call_key
from escala.resilience.failure_kinds import Failures, failures
from escala.resilience.pure.breaker import BreakerMachine
from escala.resilience.pure.breaker_table import BreakerMode
from escala.resilience.pure.shared_breaker import SharedMachine
from escala.resilience.shared_breaker import SharedBreakerShell
from escala.resilience.spelling import spelled
from escala.resilience.user_function import Asker, check

Permit: TypeAlias = int
EachPermit: TypeAlias = tuple[int, BreakerMachine, Hashable, float]


class CircuitBreaker(SharedBreakerShell):
    """Refuse calls at once while most of them fail, and let a few probes find out when to resume.

    When it opens:

    - `failure_rate`: this share of the calls in the last `window` failed, and they were at least
      `minimum_calls`. The window is a time ("10s") or a number of calls ("100 calls"). In a time,
      calls are counted by tenths: one counts for at least 0.9 and at most 1.0 times `window`, in
      constant memory. None: no rate opens it.
    - `slow` and `slow_rate`: this share of them took `slow` seconds or longer.
    - `consecutive`: so many calls in a row failed, however few or many there are in the window.

    How it closes again:

    - `cooldown`: how long it stays open. `CircuitOpen.retry_after` says how much is left. With
      `cooldown_cap` it doubles, up to that, each time the probes fail.
    - `probes`: then so many calls may pass; when all of them succeed it closes, when one fails or
      is slow it opens again. No others pass meanwhile, however many come.
    - `probe_lease`: when all probes are out and none has come back for so long (a thread that
      was killed, a call that never ends), new ones are given out.

    What it looks at:

    - `statuses`: HTTP and gRPC statuses that are failures, such as `503`, `"500..504"` or
      `"UNAVAILABLE"`; an answer or an error with any other status is none. It is read from what
      httpx, requests, aiohttp and gRPC return and raise.
    - `on` (in code only): which exceptions are failures, or a function that says so of one; all
      by default. Others count as success, since the dependency did answer.
    - `judge` (in code only): says of a returned value whether it is a failure.

    Many at once, and by hand:

    - `key`: a breaker of its own for each value of `current_request().get(key)`, such as "host",
      or of a function of the current request (or None). Calls without a value share one. Up to
      `max_keys` are kept, about 700 bytes each; a new key then takes the place of another, closed
      ones that were not asked for the longest time first. **What is forgotten begins anew.**
    - `store`: processes that have the same `name` and `store` share one breaker. Each counts its
      own calls; what one opens is open for all, and the probes of all together are `probes`. Each
      looks at the store every `refresh` seconds, and for each probe; the call whose turn it is
      waits for that. While the store is away each process decides alone. What is done by hand
      (`mode`) is done in one process.
    - `mode`: "enforce"; "shadow", which counts and tells events but never refuses; "disabled",
      which does nothing; "forced_open", which refuses all. `switch` changes it.

    What says nothing about the dependency counts neither way: a cancelled call (its probe permit
    goes back), a refusal by another policy further in, and a call that the deadline around the
    breaker ended. So put a `Timeout` inside, or a dependency that hangs is never counted. A
    result that comes after the state has changed changes nothing.

    Raises `CircuitOpen`. `BreakerChanged` events tell each step, `BreakerStoreChanged` that the
    store is away, with the reason, or back.

    >>> breaker = CircuitBreaker(failure_rate="25%", minimum_calls=100)
    >>> breaker.call(len, "tea"), breaker.state.value
    (3, 'closed')
    >>> breaker.switch("forced_open")
    >>> breaker.call(len, "tea")
    Traceback (most recent call last):
    escala.errors.CircuitOpen: circuit_breaker: the circuit was switched to forced_open
    """

    kind: ClassVar[str] = "circuit_breaker"
    Options: ClassVar[type[msgspec.Struct]] = BreakerOptions

    def __init__(
        self,
        *,
        failure_rate: float | str | None = "50%",
        window: float | str = "10s",
        minimum_calls: int = 20,
        consecutive: int | None = None,
        slow: float | str | None = None,
        slow_rate: float | str = "50%",
        cooldown: float | str = "5s",
        cooldown_cap: float | str | None = None,
        probes: int = 1,
        probe_lease: float | str = "30s",
        statuses: Sequence[int | str] = (),
        key: str | Grouping | None = None,
        max_keys: int = 1000,
        mode: BreakerMode = "enforce",
        store: str | None = None,
        refresh: float | str = "250ms",
        on: Failures = EVERY_ERROR,
        judge: Judge | None = None,
        name: str = "circuit_breaker",
    ) -> None:
        if callable(key):
            check(key, "key", where="CircuitBreaker")
        given = {
            "failure_rate": failure_rate,
            "window": window,
            "minimum_calls": minimum_calls,
            "consecutive": consecutive,
            "slow": slow,
            "slow_rate": slow_rate,
            "cooldown": cooldown,
            "cooldown_cap": cooldown_cap,
            "probes": probes,
            "probe_lease": probe_lease,
            "statuses": statuses,
            "key": None if callable(key) else key,
            "max_keys": max_keys,
            "mode": mode,
            "store": store,
            "refresh": refresh,
        }
        self.options = chosen = options(BreakerOptions, given, where="CircuitBreaker")
        asker = Asker("CircuitBreaker", name)
        self._given = failures(on, default=EVERY_ERROR, asker=asker), asker.judge(judge)
        on, self._judge = self._given
        if chosen.statuses:
            on = errors_with(chosen.statuses, on)
            self._judge = judge_with(chosen.statuses, self._judge)
        self._slow = math.inf if chosen.slow is None else float(chosen.slow)
        make: Callable[[BreakerMode], BreakerMachine] = partial(BreakerMachine, chosen.rules())
        if store is not None:
            self._refresh = float(chosen.refresh)
            make = partial(SharedMachine, chosen.rules(), refresh=self._refresh)
            self._store = _opened(store, chosen, name)
        super().__init__(
            make,
            key=key,
            max_keys=chosen.max_keys,
            mode=chosen.mode,
            on=on,
            name=name,
        )
        # Chosen once: a breaker without key, store and eye on the time pays nothing for them.
        if store is not None:
            self.around = self._around_shared  # type: ignore[method-assign]
        elif key is not None or chosen.slow is not None:
            self.enter = self._enter_each  # type: ignore[method-assign, assignment]
            self.passed = self._passed_each  # type: ignore[method-assign, assignment]
            self.failed = self._failed_each  # type: ignore[method-assign, assignment]

    @classmethod
    def build(cls, options: BreakerOptions, scope: Scope) -> Self:
        """Make the policy from its options; values are judged as the scope says."""
        given = {name: getattr(options, name) for name in options.__struct_fields__}
        return cls(**given, judge=scope.judge, name=scope.label(cls.kind))

    def __repr__(self) -> str:
        on, judge = self._given
        code: dict[str, object] = {"on": None if on == EVERY_ERROR else on, "judge": judge}
        if callable(self._key):
            code = {"key": self._key, **code}
        chosen = self.options
        if chosen.store is not None:
            chosen = msgspec.structs.replace(chosen, store=without_password(chosen.store))
        return spelled(self, chosen, name=self.name, **code)

    def enter(self, runtime: Runtime) -> Permit:
        """A permit for a call, or `CircuitOpen`; see the class."""
        # One read of one field needs no lock: a call that reads it just before another thread
        # opens the breaker is one that came just before, and its result, of an old epoch by
        # then, will be ignored.
        machine = self._machine
        return machine.passing or self._admitted(machine, "", runtime.now())

    def passed(self, permit: Permit, answer: object, runtime: Runtime) -> None:
        """Count a call that has returned."""
        machine, failed = self._machine, False
        if self._judge is not None:
            failed = self._judged(permit, answer, runtime)
        lock = self._lock
        try:  # half the cost of `with`, and no interrupt can leave the lock behind either
            lock.acquire()
            if failed:
                machine.failed(permit, runtime.now())
            else:
                machine.succeeded(permit, runtime.now())
        finally:
            lock.release()
        if machine.changes:
            self._tell(machine, "")

    def failed(self, permit: Permit, error: BaseException, runtime: Runtime) -> None:
        """Count a call that has raised, if its error says anything."""
        self._raised(error, self._machine, "", permit, runtime.now())

    def _enter_each(self, runtime: Runtime) -> EachPermit:
        """The same, with a breaker for each key and an eye on the time."""
        began, machine = runtime.now(), self._machine
        key: Hashable = ""
        if self._key is not None:
            key = call_key(self._key)
            with self._lock:
                machine = self._machines.use(key, began)
        return machine.passing or self._admitted(machine, key, began), machine, key, began

    def _passed_each(self, permit: EachPermit, answer: object, runtime: Runtime) -> None:
        failed = self._judge is not None and self._judged(permit, answer, runtime)
        number, machine, key, began = permit
        now = runtime.now()
        slow = now - began >= self._slow
        with self._lock:
            if failed:
                machine.failed(number, now, slow=slow)
            elif slow:
                machine.slowed(number, now)
            else:
                machine.succeeded(number, now)
        if machine.changes:
            self._tell(machine, key)

    def _failed_each(self, permit: EachPermit, error: BaseException, runtime: Runtime) -> None:
        number, machine, key, began = permit
        now = runtime.now()
        self._raised(error, machine, key, number, now, slow=now - began >= self._slow)

    def _judged(self, permit: Any, answer: object, runtime: Runtime) -> bool:  # noqa: ANN401
        try:
            return self._judge is not None and self._judge(answer)
        except BaseException as error:
            self.failed(permit, error, runtime)
            raise


def _opened(url: str, chosen: BreakerOptions, name: str) -> BreakerStore:
    try:
        return BreakerStore(url, chosen, name)
    except ConfigError as error:
        problems = (f"CircuitBreaker: store: {each}" for each in error.problems)
        raise ConfigError(*problems) from error

"""A circuit breaker's machines behind their lock, and what it tells and shows of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import NoReturn, get_args

from escala.errors import CircuitOpen, ConfigError
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.events import publish
from escala.kernel.guard import Guard
from escala.kernel.runtime import colours
from escala.resilience.breaker_verdict import Verdict, verdict
from escala.resilience.call_key import Grouping, call_key, key_text, short
from escala.resilience.events import BreakerChanged
from escala.resilience.failure_kinds import Failures
from escala.resilience.pure.breaker import REFUSED, UNCOUNTED, BreakerMachine
from escala.resilience.pure.breaker_map import BreakerMap
from escala.resilience.pure.breaker_table import BreakerMode, BreakerState


class BreakerShell(Guard[int]):
    """One machine, or one for each key. Every step of one is taken while `_lock` is held."""

    def __init__(
        self,
        make: Callable[[BreakerMode], BreakerMachine],
        *,
        key: str | Grouping | None,
        max_keys: int,
        mode: BreakerMode,
        on: Failures,
        name: str,
    ) -> None:
        self.name = name
        self._make, self._key, self._mode, self._on = make, key, mode, on
        self._max_keys = max_keys
        # Reentrant: the garbage collector may close an abandoned call, which gives its permit
        # back, in the middle of this thread's own turn.
        self._lock = threading.RLock()
        self._begin()
        begin_anew(self, BreakerShell._forked)

    def _begin(self) -> None:
        self._machine = self._make(self._mode)
        self._machines = BreakerMap(self._make, self._max_keys, self._mode)
        self._would_refuse = 0

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    @property
    def state(self) -> BreakerState:
        """What it is now; an open one becomes half-open with the first call after its cooldown.

        With a `key`, that of the current request's breaker.
        """
        return self.state_of("" if self._key is None else call_key(self._key))

    def state_of(self, key: Hashable) -> BreakerState:
        """The state of a key's breaker; one that is not kept is as new."""
        if self._key is None:
            return self._machine.state
        return (self._machines.get(short(key, self.name)) or self._make(self._mode)).state

    @property
    def mode(self) -> BreakerMode:
        """`enforce`, `shadow`, `disabled` or `forced_open`."""
        return self._mode

    def switch(self, mode: BreakerMode) -> None:
        """Change the mode from now on; it begins anew, with nothing counted.

        `switch("enforce")` also closes one that is open. Results of calls that are under way
        change nothing. Raises `ConfigError` for another word.
        """
        if mode not in get_args(BreakerMode):
            words = ", ".join(get_args(BreakerMode))
            raise ConfigError(f"{self.name}: expected a mode of {words}, found {mode!r}")
        now = colours.thread.now()
        with self._lock:
            self._mode = self._machines.mode = mode
            breakers = self._breakers()
            for _, machine in breakers:
                machine.switch(mode, now)
        for key, machine in breakers:
            self._tell(machine, key)

    def snapshot(self) -> dict[str, float]:
        """For metrics: how many breakers are open, half-open, switched to be open or disabled.

        One without a `key` is one breaker, so these are 1 or 0; with it, `keys` says how many there
        are. `would_refuse` counts the calls that a shadow would have refused.
        """
        with self._lock:
            states = [machine.state for _, machine in self._breakers()]
        figures = {
            state.name.lower(): float(states.count(state))
            for state in BreakerState
            if state is not BreakerState.CLOSED
        }
        figures["would_refuse"] = float(self._would_refuse)
        if self._key is not None:
            figures["keys"] = float(len(states))
        return figures

    def _breakers(self) -> list[tuple[Hashable, BreakerMachine]]:
        return [("", self._machine)] if self._key is None else list(self._machines)

    def _admitted(self, machine: BreakerMachine, key: Hashable, now: float) -> int:
        """A permit of a machine that does not let every call pass, or `CircuitOpen`."""
        with self._lock:
            permit = machine.admit(now)
            if permit == REFUSED and self._mode == "shadow":
                self._would_refuse += 1
                permit = UNCOUNTED
        if machine.changes:
            self._tell(machine, key)
        if permit == REFUSED:
            self._refuse(machine, key, now)
        return permit

    def _refuse(self, machine: BreakerMachine, key: Hashable, now: float) -> NoReturn:
        with self._lock:
            state, reason, left = machine.state, machine.reason, machine.stay_away(now)
        whose = "the circuit"
        if self._key is not None and key != "":
            whose = f"the circuit for this {self._key if isinstance(self._key, str) else 'key'}"
        if state is BreakerState.OPEN:
            raise CircuitOpen(self.name, f"{whose} is open, since {reason}", left)
        if state is BreakerState.FORCED_OPEN:
            raise CircuitOpen(self.name, f"the circuit was switched to {self._mode}")
        raise CircuitOpen(self.name, f"{whose} is half-open and all its probes are out", left)

    def _raised(
        self,
        error: BaseException,
        machine: BreakerMachine,
        key: Hashable,
        permit: int,
        now: float,
        *,
        slow: bool = False,
    ) -> None:
        said = Verdict.FAILED  # also when a predicate is interrupted
        try:
            said = verdict(error, self._on, now)
        finally:
            self._ended(said, machine, key, permit, now, slow=slow)

    def _ended(
        self,
        said: Verdict,
        machine: BreakerMachine,
        key: Hashable,
        permit: int,
        now: float,
        *,
        slow: bool,
    ) -> None:
        with self._lock:
            if said is Verdict.NOTHING:
                machine.returned(permit)
            elif said is Verdict.FAILED:
                machine.failed(permit, now, slow=slow)
            elif slow:
                machine.slowed(permit, now)
            else:
                machine.succeeded(permit, now)
        if machine.changes:
            self._tell(machine, key)

    def _tell(self, machine: BreakerMachine, key: Hashable) -> None:
        """Publish what has changed; never while the lock is held."""
        with self._lock:
            changes, machine.changes = machine.changes, []
            shadow = self._mode == "shadow"
        for before, after, at, reason in changes:
            publish(
                BreakerChanged(
                    name=self.name,
                    at=at,
                    before=before,
                    after=after,
                    reason=reason,
                    key=key_text(key),
                    shadow=shadow,
                )
            )

"""Several servers that do the same work, as one thing to call."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
import threading
from collections.abc import Collection, Iterable
from typing import Any, Self

from escala.balancing.balancer import Balancer, balancer
from escala.balancing.health_check import HealthCheck
from escala.balancing.pure.choice import Choice
from escala.balancing.pure.health import State, Transition
from escala.balancing.round_robin import RoundRobin
from escala.balancing.target import Target
from escala.errors import ConfigError, NoHealthyBackend
from escala.kernel.events import Event, publish
from escala.kernel.runtime import colours

_NAMED = 8  # targets that an error lists before it says how many more there are


class TargetChanged(Event, frozen=True, kw_only=True):
    """A target of the upstream `name` was found to be healthy, or not to be, and why."""

    target: str
    healthy: bool
    reason: str


class Upstream:
    """Picks a target for each call, and leaves out those that are not well.

        shop = Upstream("shop", ["10.0.0.1:80", "10.0.0.2:80"], health=HealthCheck())
        async with shop:
            with shop.pick() as target:
                answer = await get(f"{target.url}/catalogue")

    - `balance` is a `Balancer` or its name; `RoundRobin()` unless told otherwise.
    - With a `health` check, a target that fails it is never picked. One of which nothing is
      known yet is picked only while no target is known to be healthy: at the start that lets
      calls through at once, and later a newcomer has to show itself first. When every target is
      unhealthy `pick` raises `NoHealthyBackend`, unless `panic` is true: then, and only then,
      it picks among all of them. Without a health check all are picked always.
    - Checks run while the upstream is open (`async with`, or `open` and `aclose`), on the event
      loop that opened it. `pick`, `release` and `report` need no loop and work from any thread
      or task, also while another thread's loop runs the checks.

    `pick` and `release` are O(log n), a change of health O(n). Raises `ConfigError` for no
    targets at all, and for a target that is listed twice or belongs to another upstream.
    """

    def __init__(
        self,
        name: str,
        targets: Iterable[Target | str],
        *,
        balance: Balancer | str | None = None,
        health: HealthCheck | None = None,
        panic: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        if isinstance(targets, str):
            raise ConfigError(f"upstream {name}: expected a list of targets, found {targets!r}")
        self.name, self.health, self.panic = name, health, panic
        self.balance = balancer(balance) if isinstance(balance, str) else balance or RoundRobin()
        made = (each if isinstance(each, Target) else Target(each) for each in targets)
        self.targets: tuple[Target, ...] = tuple(made)
        self._own()
        self._rng = rng or random.Random()
        self._watches: list[asyncio.Task[None]] = []
        self._lock = threading.Lock()  # around every change of what follows
        self._eligible: tuple[Target, ...] = ()
        self._choice: Choice | None = None
        self._last: Target | None = None
        self._settle()

    def __repr__(self) -> str:
        return f"Upstream({self.name!r}, {len(self.targets)} targets, {self.balance!r})"

    @property
    def ready(self) -> bool:
        """Whether a target is known to be healthy, so that calls can be expected to succeed."""
        return any(target.healthy for target in self.targets)

    @property
    def panicking(self) -> bool:
        """Whether calls go to unhealthy targets, because there are no others and `panic` is on."""
        eligible = self._eligible
        return bool(eligible) and eligible[0].state is State.UNHEALTHY

    def pick(self, avoid: Collection[Target] = ()) -> Target:
        """A target for one call, which counts as in flight until it is released.

        Use it in a `with` block, or hand it to `release` when the call is over. A retry names
        the targets it tried in `avoid`: another one is picked if there is any. Raises
        `NoHealthyBackend`.
        """
        with self._lock:
            if self._choice is None:
                raise NoHealthyBackend(self._refusal())
            skip = {target.slot for target in avoid if target.upstream is self} if avoid else ()
            target = self._last = self._eligible[self._choice.pick(skip)]
            target.in_flight += 1
            target.requests += 1
            return target

    def release(self, target: Target, *, ok: bool | None = True) -> None:
        """The call is over; `ok` is False when the target failed it, None when no one can say.

        Once for each pick, from any thread. It counts the failure and judges nothing.
        """
        self._check(target)
        with self._lock:
            if not target.in_flight:
                raise RuntimeError(f"{target!r} was released more often than it was picked")
            target.in_flight -= 1
            if ok is False:
                target.failures += 1
            if self._choice is not None and target.slot >= 0:
                self._choice.release(target.slot)

    def report(self, target: Target, *, ok: bool) -> None:
        """A new connection to the target was made, or failed (refused, reset, timed out).

        As many failures in a row as the health check's `fall`, with neither a success nor a
        passed check between them, take the target out at once: a process that was killed is
        gone after that many calls, and the health check brings it back. Where no check runs
        nothing would, so then this does nothing. Nor does it take out the last target that can
        be picked: that is for the check to decide, since a moment's trouble on our own side
        looks the same for all of them.

        Report what says that the server is gone, not that it is slow or answers errors, and
        not the reset of an idle connection that was kept open. A `with` block reports for you.
        """
        self._check(target)
        health = target.health
        if health is None or not (health.doubted if ok else self._watching()):
            return
        now = colours.thread.now()
        with self._lock:
            last_one = self._eligible == (target,)
            change = None if last_one and not ok else health.report(now, ok=ok)
            if change is not None:
                self._settle()
        self._tell(target, change)

    def snapshot(self) -> list[dict[str, Any]]:
        """How each target is and what it does, as plain values for a status page."""
        with self._lock:
            return [
                {
                    "address": target.address,
                    "state": target.state.value,
                    "healthy": target.healthy,
                    "weight": target.weight,
                    "in_flight": target.in_flight,
                    "requests": target.requests,
                    "failures": target.failures,
                }
                for target in self.targets
            ]

    def open(self) -> None:
        """Start the health checks on the running event loop; the first of each at once.

        Raises `RuntimeError` when no loop is running, and when the upstream is open already.
        """
        if self.health is None:
            return
        if self._watching():
            raise RuntimeError(f"upstream {self.name} is open already")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"upstream {self.name} has health checks, which need an event loop: open it in one"
            ) from None
        self._watches = [
            loop.create_task(
                self.health.watch(
                    target, functools.partial(self._observe, target), colours.loop, self._rng
                ),
                name=f"{self.name} health {target.address}",
                # Not the opener's: its deadline or request is no business of the checks.
                context=contextvars.Context(),
            )
            for target in self.targets
        ]

    async def aclose(self) -> None:
        """Stop the health checks, in the loop that opened them; what they found last stays."""
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def __aenter__(self) -> Self:
        """Open it."""
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    def _own(self) -> None:
        if not self.targets:
            raise ConfigError(f"upstream {self.name}: expected at least one target, found none")
        seen: set[str] = set()
        for target in self.targets:
            if target.url in seen:
                raise ConfigError(f"upstream {self.name}: the target {target.url} is listed twice")
            if target.upstream is not None:
                raise ConfigError(
                    f"upstream {self.name}: {target!r} belongs to upstream "
                    f"{target.upstream.name} already; make one for each"
                )
            seen.add(target.url)
        for target in self.targets:
            target.upstream = self
            target.health = self.health.judge() if self.health else None

    def _watching(self) -> bool:
        return any(not watch.done() for watch in self._watches)

    def _check(self, target: Target) -> None:
        if target.upstream is not self:
            raise ValueError(f"{target!r} is no target of upstream {self.name}")

    def _observe(self, target: Target, ok: bool) -> None:  # noqa: FBT001  as the check calls it
        health = target.health
        if health is None:
            return
        now = colours.thread.now()
        with self._lock:
            change = health.observe(now, ok=ok)
            if change is not None:
                self._settle()
        self._tell(target, change)

    def _settle(self) -> None:
        """Choose among those that may be picked now; under the lock, after a change of health."""
        eligible = self._may_be_picked()
        if set(eligible) == set(self._eligible):
            return
        for target in self.targets:
            target.slot = -1
        for slot, target in enumerate(eligible):
            target.slot = slot
        self._eligible = eligible
        self._choice = self._choose(eligible)

    def _choose(self, eligible: tuple[Target, ...]) -> Choice | None:
        if not eligible:
            return None
        weights = [target.weight for target in eligible]
        return self.balance.over(weights, [target.in_flight for target in eligible])

    def _may_be_picked(self) -> tuple[Target, ...]:
        # In order from behind the last one picked: where changes are frequent, the first target
        # would otherwise get more than its share, once after each of them.
        start = self.targets.index(self._last) + 1 if self._last else 0
        order = self.targets[start:] + self.targets[:start]
        for state in (State.HEALTHY, State.STARTING):
            if found := tuple(target for target in order if target.state is state):
                return found
        return order if self.panic else ()

    def _tell(self, target: Target, change: Transition | None) -> None:
        if change is not None:
            healthy, reason = change.after is State.HEALTHY, change.reason
            publish(
                TargetChanged(
                    name=self.name,
                    at=change.at,
                    target=target.address,
                    healthy=healthy,
                    reason=reason,
                )
            )

    def _refusal(self) -> str:
        many = len(self.targets)
        whose = f"none of its {many} targets is" if many > 1 else "its only target is not"
        found = [
            f"{target.address} {target.state.value}: {target.health.reason}"
            for target in self.targets[:_NAMED]
            if target.health is not None
        ]
        if many > _NAMED:
            found.append(f"and {many - _NAMED} more")
        return (
            f"upstream {self.name}: {whose} healthy ({'; '.join(found)}). See that they run and "
            "pass their health check, or set `panic` to send calls to them all the same"
        )

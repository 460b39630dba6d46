"""Several servers that do the same work, as one thing to call."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Collection, Iterable, Sequence
from math import inf
from typing import Any, Self

from escala.balancing.balancer import Balancer, balancer
from escala.balancing.discovery import Discovery
from escala.balancing.events import DiscoveryFailed, TargetChanged, TargetsChanged
from escala.balancing.fleet import Fleet
from escala.balancing.health_check import HealthCheck
from escala.balancing.lookout import Lookout
from escala.balancing.loop_thread import LoopThread
from escala.balancing.outlier_detection import OutlierDetection
from escala.balancing.pure.health import State, Transition
from escala.balancing.round_robin import RoundRobin
from escala.balancing.subset import Subset
from escala.balancing.target import Target, TargetOptions
from escala.balancing.target_list import target_list
from escala.balancing.upstream_options import UpstreamOptions, part
from escala.errors import ConfigError, NoHealthyBackend, WouldBlock
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.config import options
from escala.kernel.events import Event, publish
from escala.kernel.runtime import colours

# What a forked child has of its parent's loops. It must not even close them: both processes
# would see that, since they share what the loops wait with.
_parents: list[object] = []


class Upstream:
    """Picks a target for each call, and leaves out those that are not well.

        shop = Upstream("shop", ["10.0.0.1:80", "10.0.0.2:80"], health=HealthCheck())
        async with shop:
            with shop.pick() as target:
                answer = await get(f"{target.url}/catalogue")

    - `targets` are a list, or a `Discovery` that finds them (`DnsTargets`, `FileTargets`).
    - `balance` is a `Balancer` or its name; `RoundRobin()` unless told otherwise.
    - With a `health` check, a target that fails it is never picked. One of which nothing is
      known yet is picked only while no target is known to be healthy: at the start that lets
      calls through at once, and later a newcomer has to show itself first.
    - `outliers` leaves out targets whose answers are worse than the others': `OutlierDetection`.
    - `panic` is for services whose checks are less reliable than they are. Below this healthy
      share ("50%") of the targets of a priority, where other priorities cannot take over, all of
      them are picked: so few would only fall too. True does that only when no target is healthy;
      False, the default, never does: `pick` then raises `NoHealthyBackend`.
    - `zone` is where this process runs: calls stay in it as far as its targets can take them.
      The priorities of targets come before zones. See `pure.plan.plan` for both.
    - `slow_start` ("30s") is how long a target that came, or came back, has less than its weight.
    - `subset` keeps to a part of a large fleet: `Subset(20, client=3)`.

    Checks and discovery run while the upstream is open: on the event loop that opened it
    (`async with`, or `open` and `aclose`), or in a thread of its own (`with`). `pick`, `release`
    and `report` need no loop and work from any thread or task. A forked child knows what its
    parent knew, and has no calls in flight; what a thread had open it opens anew,
    with its first pick.

    `pick` and `release` cost what the balancer costs, O(log n) or less; a change of who may be
    picked costs O(n). Events: `TargetChanged`, `TargetEjected`, `PanicChanged`, `TargetsChanged`
    and `DiscoveryFailed`. Raises `ConfigError` for no targets at all, and for a target that is
    listed twice or belongs to another upstream.
    """

    def __init__(
        self,
        name: str,
        targets: Iterable[Target | str] | Discovery,
        *,
        balance: Balancer | str | None = None,
        health: HealthCheck | None = None,
        outliers: OutlierDetection | None = None,
        panic: bool | float | str = False,
        zone: str = "",
        slow_start: float | str | None = None,
        subset: Subset | None = None,
        rng: random.Random | None = None,
    ) -> None:
        asked = {"name": name, "panic": panic, "zone": zone, "slow_start": slow_start}
        given = options(UpstreamOptions, asked, where=f"upstream {name}")
        self.name, self.panic = name, given.panic.given
        self.health = part(health, HealthCheck, "health", of=name)
        self.outliers = part(outliers, OutlierDetection, "outliers", of=name)
        self.subset = part(subset, Subset, "subset", of=name)
        made = balancer(balance) if isinstance(balance, str) else balance
        self.balance = part(made, Balancer, "balance", of=name) or RoundRobin()
        self.discovery = targets if isinstance(targets, Discovery) else None
        self._rng = part(rng, random.Random, "rng", of=name) or random.Random()
        self._lookout: Lookout | None = None
        self._thread: LoopThread | None = None
        self._lost = False  # whether a fork took the thread away
        self._trouble = ""
        self._lock = threading.RLock()  # around every use of the fleet
        self._fleet = Fleet(
            name,
            balance=self.balance,
            draw=self._rng.random,
            judge=health.judge if health else None,
            outliers=outliers.machine() if outliers else None,
            zone=given.zone,
            panic=given.panic,
            slow_start=given.slow_start,
        )
        if isinstance(targets, Discovery):
            targets.claim(name)
        else:
            self._replace(targets, came=-inf)
        begin_anew(self, Upstream._forked)

    def __repr__(self) -> str:
        return f"Upstream({self.name!r}, {len(self.targets)} targets, {self.balance!r})"

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets of the moment, also those that are not picked."""
        return self._fleet.targets

    @property
    def ready(self) -> bool:
        """Whether a target is known to be healthy, so that calls can be expected to succeed."""
        return any(target.healthy for target in self.targets)

    @property
    def panicking(self) -> bool:
        """Whether calls go to unhealthy targets, because too few are left and `panic` says so."""
        return self._fleet.panicking

    @property
    def panics(self) -> int:
        """How often that has begun."""
        return self._fleet.panics

    def pick(self, avoid: Collection[Target] = (), *, key: str | bytes | None = None) -> Target:
        """A target for one call, which counts as in flight until it is released.

        Use it in a `with` block, or hand it to `release` when the call is over. A retry names
        the targets it tried in `avoid`: another one is picked if there is any. `key` says what
        the call is about, for a balancer that keeps it with one target (`ConsistentHash`).
        Raises `NoHealthyBackend`.
        """
        now = colours.thread.now()
        fleet = self._fleet
        if avoid:
            avoid = [target for target in avoid if target.upstream is self]
        with self._lock:
            told = fleet.turn(now) if now >= fleet.due else ()
            target = fleet.pick(now, avoid, key)
            refusal = None if target is not None else self._refusal()
        if told:
            _publish(told)
        if self._lost:
            self._go_on()
        if target is None:
            raise NoHealthyBackend(refusal)
        return target

    def release(self, target: Target, *, ok: bool | None = True, took: float | None = None) -> None:
        """The call is over; `ok` is False when the target failed it, None when no one can say.

        Once for each pick, from any thread, also when the target is gone by now. `took` is how
        many seconds the answer took, for those who look at it; impossible ones say nothing.
        """
        self._check(target)
        if took is not None and not 0 <= took < inf:
            took = None
        now = colours.thread.now()
        with self._lock:
            told = self._fleet.release(target, now, ok=ok, took=took)
        if told:
            _publish(told)

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
        health, lookout = target.health, self._lookout
        if health is None:
            return
        if not (health.doubted if ok else lookout is not None and lookout.checking):
            return
        now = colours.thread.now()
        with self._lock:
            last_one = self._fleet.eligible == (target,)
            change = None if last_one and not ok else health.report(now, ok=ok)
            told = self._changed(target, change, now)
        _publish(told)

    def update(self, targets: Iterable[Target | str]) -> None:
        """Replace the targets, as a discovery of your own would; from any thread.

        Those that stay, by their URL, keep their health and their counts; calls in flight to one
        that goes end as they would have, and are released as ever. Raises `ConfigError`.
        """
        if self.discovery is not None:
            raise ConfigError(f"upstream {self.name}: its targets come from {self.discovery!r}")
        self._replace(targets, came=colours.thread.now())

    def snapshot(self) -> list[dict[str, Any]]:
        """How each target is and what it does, as plain values for a status page."""
        with self._lock:
            return [
                {
                    "address": target.address,
                    "state": target.state.value,
                    "healthy": target.healthy,
                    "ejected": target.ejected,
                    "weight": target.weight,
                    "zone": target.zone,
                    "priority": target.priority,
                    "in_flight": target.in_flight,
                    "requests": target.requests,
                    "failures": target.failures,
                    "ejections": target.ejections,
                }
                for target in self.targets
            ]

    def open(self) -> None:
        """Start checks and discovery on the running event loop, the first of each at once.

        Raises `RuntimeError` when no loop is running, and when the upstream is open already.
        """
        if self.health is None and self.discovery is None:
            return
        if self._lookout is not None and self._lookout.running:
            raise RuntimeError(f"upstream {self.name} is open already")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                f"upstream {self.name} has health checks or a discovery, which need an event "
                "loop: open it in one, or in a thread of its own (`with upstream:`)"
            ) from None
        self._lookout = lookout = Lookout(
            self.name,
            health=self.health,
            discovery=self.discovery,
            rng=self._rng,
            observe=self._observe,
            found=self._found,
            failed=self._failed,
            targets=lambda: self.targets,
        )
        lookout.follow()

    async def aclose(self) -> None:
        """Stop checks and discovery, in the loop that opened them (`RuntimeError` in another)."""
        if self._lookout is not None:
            self._lookout.check_loop()
            lookout, self._lookout = self._lookout, None
            await lookout.stop()

    async def first_look(self) -> None:
        """Wait until an open upstream's discovery has looked once, and found targets or not."""
        if self._lookout is not None:
            await self._lookout.first_look()

    async def __aenter__(self) -> Self:
        """Open it, and wait for the first look."""
        self.open()
        try:
            await self.first_look()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self.aclose()

    def __enter__(self) -> Self:
        """Open it in a thread of its own, and wait for the first look."""
        if self.health is None and self.discovery is None:
            return self
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  the public twin raises
            raise WouldBlock(f"upstream {self.name}: use `async with` in an event loop")
        if not colours.real:
            raise RuntimeError(f"upstream {self.name}: virtual time has no threads: `async with`")
        if self._thread is not None:
            raise RuntimeError(f"upstream {self.name} is open already")
        self._thread = LoopThread(f"{self.name}-checks")
        try:
            self._thread.run(self.__aenter__())
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._lost = False
        if self._thread is not None:
            self._thread.run(self.aclose())
            self._end_thread()

    def _end_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def _forked(self) -> None:
        free(self._lock)
        self._fleet.forget_calls(colours.thread.now())
        _parents.append((self._lookout, self._thread))
        self._lost = self._thread is not None
        self._lookout = self._thread = None

    def _go_on(self) -> None:
        with self._lock:
            if self._lost:
                self._lost = False
                self._thread = LoopThread(f"{self.name}-checks")
                self._thread.begin(self.__aenter__())

    def _check(self, target: Target) -> None:
        if target.upstream is not self:
            raise ValueError(f"{target!r} is no target of upstream {self.name}")

    def _observe(self, target: Target, ok: bool) -> None:  # noqa: FBT001  as the check calls it
        health = target.health
        if health is None:
            return
        now = colours.thread.now()
        with self._lock:
            told = self._changed(target, health.observe(now, ok=ok), now)
        _publish(told)

    def _changed(self, target: Target, change: Transition | None, now: float) -> list[Event]:
        if change is None or target.gone:
            return []
        healthy = change.after is State.HEALTHY
        if healthy:
            target.since = now
        address, reason = target.address, change.reason
        told = TargetChanged(
            name=self.name, at=change.at, target=address, healthy=healthy, reason=reason
        )
        return [told, *self._fleet.settle(now)]

    def _found(self, found: Sequence[Target | TargetOptions | str]) -> None:
        self._replace(found, came=colours.thread.now() if self.targets else -inf)
        self._trouble = ""

    def _failed(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        if reason != self._trouble:  # the same again is no news
            self._trouble = reason
            publish(DiscoveryFailed(name=self.name, at=colours.thread.now(), reason=reason))

    def _replace(self, listed: Iterable[Target | TargetOptions | str], *, came: float) -> None:
        targets = target_list(self, listed)
        if self.subset is not None:
            kept = set(self.subset.of([target.url for target in targets]))
            targets = [target for target in targets if target.url in kept]
        self.balance.check([target.weight for target in targets])
        now = colours.thread.now()
        with self._lock:
            before = self.targets
            for target in targets:
                target.upstream = self
            told = self._fleet.replace(targets, now, came=came)
            after = self.targets
        lookout = self._lookout
        if lookout is not None:
            lookout.follow()
        came_now = tuple(target.address for target in after if target not in before)
        went = tuple(target.address for target in before if target not in after)
        if (before or lookout is not None) and (came_now or went):
            publish(TargetsChanged(name=self.name, at=now, came=came_now, went=went))
        _publish(told)

    def _refusal(self) -> str:
        if self.targets:
            return self._fleet.refusal()
        why = self._trouble or "open the upstream, or wait for its first look"
        return f"upstream {self.name}: {self.discovery!r} has found no targets yet: {why}"


def _publish(told: Iterable[Event]) -> None:
    for event in told:
        publish(event)

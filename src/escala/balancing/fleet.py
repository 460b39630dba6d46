"""The targets of an upstream as they stand: who may be picked, and how calls are shared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from math import gcd, inf
from typing import TypeAlias

from escala.balancing.balancer import Balancer
from escala.balancing.events import PanicChanged, TargetEjected
from escala.balancing.pure.choice import Choice, Member
from escala.balancing.pure.health import Health, State
from escala.balancing.pure.outliers import Ejection, Outliers
from escala.balancing.pure.plan import Plan, Rank, Standing, plan
from escala.balancing.pure.slow_start import STEPS, SlowStart
from escala.balancing.pure.spread import Spread
from escala.balancing.target import Target
from escala.kernel.events import Event

_NAMED = 8  # targets that an error lists before it says how many more there are
_RANKS = {
    State.HEALTHY: Rank.HEALTHY,
    State.STARTING: Rank.STARTING,
    State.UNHEALTHY: Rank.UNHEALTHY,
}
_Shape: TypeAlias = "frozenset[tuple[float, frozenset[tuple[Target, int]]]]"


class Fleet:
    """Everything of an `Upstream` that its lock guards; the time comes in as an argument.

    `due` is when `turn` has something to do: an ejection that is over, an interval to judge, a
    step of a slow start. Methods return the events to publish once the lock is free.
    """

    def __init__(
        self,
        name: str,
        *,
        balance: Balancer,
        draw: Callable[[], float],
        judge: Callable[[], Health] | None,
        outliers: Outliers | None,
        zone: str,
        panic: float,
        slow_start: float | None,
    ) -> None:
        self.name, self.zone, self.panic = name, zone, panic
        self.targets: tuple[Target, ...] = ()
        self.eligible: tuple[Target, ...] = ()
        self.panicking = False
        self.panics = 0
        self.due = inf
        self._balance, self._draw, self._judge, self._outliers = balance, draw, judge, outliers
        self._slow = None if slow_start is None else SlowStart(slow_start)
        self._choice: Choice | None = None
        self._make: Callable[[], Choice | None] | None = None  # what is to be the choice
        self._shape: _Shape = frozenset()
        self._last: Target | None = None

    def pick(self, now: float, avoid: Collection[Target], key: str | bytes | None) -> Target | None:
        """A target for one call; None when none may be picked."""
        choice = self._chosen() if self._make else self._choice
        if choice is None:
            return None
        skip = {target.slot for target in avoid if target.slot >= 0} if avoid else ()
        target = self._last = self.eligible[choice.pick(now, skip, key)]
        target.in_flight += 1
        target.requests += 1
        return target

    def release(
        self, target: Target, now: float, *, ok: bool | None, took: float | None
    ) -> list[Event]:
        """A call is over."""
        if not target.in_flight:
            if not target.inherited:
                raise RuntimeError(f"{target!r} was released more often than it was picked")
            target.inherited -= 1
            return []
        choice = self._chosen() if self._make else self._choice
        target.in_flight -= 1
        if ok is False:
            target.failures += 1
        if choice is not None and target.slot >= 0:
            choice.release(target.slot, now, took if ok else None)
        if self._outliers is None or ok is None or target.gone:
            return []
        change = self._outliers.record(target.url, now, ok=ok, took=took)
        return [] if change is None else [*self._ejected([change]), *self.settle(now)]

    def turn(self, now: float) -> list[Event]:
        """Do what is due."""
        outliers = self._outliers
        changes = [] if outliers is None or now < outliers.due else outliers.turn(now)
        return [*self._ejected(changes), *self.settle(now)]

    def replace(self, targets: Iterable[Target], now: float, *, came: float) -> list[Event]:
        """These are the targets from now on; those that stay are kept as they are.

        `came` is since when those that are new count as being there.
        """
        known = {target.url: target for target in self.targets}
        kept: list[Target] = []
        for target in targets:
            old = known.pop(target.url, None)
            if old is None:
                target.health = self._judge() if self._judge else None
                target.since, target.gone = came, False
                kept.append(target)
            else:
                old.weight, old.zone, old.priority = target.weight, target.zone, target.priority
                kept.append(old)
        for gone in known.values():
            gone.slot, gone.ejected, gone.gone = -1, False, True
        self.targets = tuple(kept)
        self.eligible = tuple(target for target in self.eligible if target.url not in known)
        self._last = self._last if self._last in self.targets else None
        outliers = self._outliers
        back = [] if outliers is None else outliers.watch({target.url for target in kept}, now)
        return [*self._ejected(back), *self.settle(now)]

    def forget_calls(self, now: float) -> None:
        """In a forked child: the calls of the parent are not ours."""
        for target in self.targets:
            target.inherited += target.in_flight
            target.in_flight = 0
        self._shape = frozenset()
        self.settle(now)

    def settle(self, now: float) -> list[Event]:
        """Choose among those that may be picked now; O(n), after any change."""
        order = self._order()
        tenths = self._tenths(order, now)
        standings = [
            Standing(self._rank(target), target.weight, target.priority, target.zone)
            for target in order
        ]
        made = plan(standings, zone=self.zone, panic=self.panic)
        self._set_due(now, warming=any(tenth < STEPS for tenth in tenths))
        self._take(made, order, tenths)
        return self._panic(made, now)

    def refusal(self) -> str:
        """Why there is no one to pick, and what to do."""
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

    def _order(self) -> tuple[Target, ...]:
        # From behind the last one picked: where changes are frequent, the first target would
        # otherwise get more than its share, once after each of them.
        start = self.targets.index(self._last) + 1 if self._last else 0
        return self.targets[start:] + self.targets[:start]

    def _rank(self, target: Target) -> Rank:
        rank = _RANKS[target.state]
        return Rank.EJECTED if target.ejected and rank is not Rank.UNHEALTHY else rank

    def _tenths(self, order: Sequence[Target], now: float) -> list[int]:
        slow = self._slow
        if slow is None:
            return [STEPS] * len(order)
        return [
            STEPS if target.since == -inf else slow.tenths(target.since, now) for target in order
        ]

    def _take(self, made: Plan, order: Sequence[Target], tenths: Sequence[int]) -> None:
        weights = [target.weight * tenth for target, tenth in zip(order, tenths, strict=True)]
        members = [at for group in made.groups for at in group.members]
        shape = frozenset(
            (group.share, frozenset((order[at], weights[at]) for at in group.members))
            for group in made.groups
        )
        if shape == self._shape:
            return
        self._shape = shape
        if self._choice is not None:
            for target in self.eligible:
                target.seconds = self._choice.seconds(target.slot)
        for target in self.targets:
            target.slot = -1
        self.eligible = tuple(order[at] for at in members)
        for slot, target in enumerate(self.eligible):
            target.slot = slot
        common = gcd(*(weights[at] for at in members)) or 1
        # Made when it is asked: of many changes at once, as when a large fleet has its first
        # checks, only the last is worth a ring.
        self._choice = None
        self._make = partial(self._choose, made, order, tenths, common)

    def _chosen(self) -> Choice | None:
        if self._make is not None:
            self._choice, self._make = self._make(), None
        return self._choice

    def _choose(
        self, made: Plan, order: Sequence[Target], tenths: Sequence[int], common: int
    ) -> Choice | None:
        choices = [
            self._balance.over(
                [
                    Member(
                        str(order[at].url),
                        order[at].weight * tenths[at] // common,
                        order[at].in_flight,
                        order[at].seconds,
                        share=order[at].weight * tenths[at] / STEPS,
                    )
                    for at in group.members
                ],
                self._draw,
            )
            for group in made.groups
        ]
        if len(choices) > 1:
            return Spread([(group.share, len(group.members)) for group in made.groups], choices)
        return choices[0] if choices else None

    def _panic(self, made: Plan, now: float) -> list[Event]:
        if made.panic == self.panicking:
            return []
        self.panicking = made.panic
        self.panics += made.panic
        healthy = sum(target.healthy for target in self.targets)
        return [
            PanicChanged(
                name=self.name,
                at=now,
                panicking=made.panic,
                healthy=healthy,
                targets=len(self.targets),
            )
        ]

    def _ejected(self, changes: Iterable[Ejection]) -> list[Event]:
        told: list[Event] = []
        by_url = {str(target.url): target for target in self.targets}
        for change in changes:
            target = by_url[change.name]
            target.ejected = change.seconds > 0
            target.ejections += target.ejected
            if not target.ejected:
                target.since = change.at
            told.append(
                TargetEjected(
                    name=self.name,
                    at=change.at,
                    target=target.address,
                    seconds=change.seconds,
                    reason=change.reason,
                )
            )
        return told

    def _set_due(self, now: float, *, warming: bool) -> None:
        self.due = self._outliers.due if self._outliers is not None else inf
        if warming and self._slow is not None:
            self.due = min(self.due, self._slow.next(now))

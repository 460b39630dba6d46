"""A choice among groups of targets that get fixed shares of the calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b

from escala.balancing.pure.choice import Choice


class Spread:
    """Each group gets its share, evenly mixed, and chooses among its own targets.

    Groups are given as share and size; their targets are numbered through, group after group.

    Without a key the group that is furthest behind its share is next: after any number of calls
    each is less than one call per group away from it. A key stands at a fixed point between 0
    and 1, where the shares are laid side by side, so that it moves only when the shares there do.
    When all targets of a group are to be skipped, the next group has one, if any does; what a
    group is behind by then is bounded, so that it is not flooded afterwards.

    O(g) a pick for g groups (priorities times zones), beside what the group's choice costs.
    """

    __slots__ = ("_behind", "_choices", "_first", "_places", "_shares", "_sizes")

    def __init__(self, groups: Sequence[tuple[float, int]], choices: Sequence[Choice]) -> None:
        self._choices = choices
        self._shares = [share for share, _ in groups]
        self._sizes = [size for _, size in groups]
        self._behind = [0.0] * len(groups)
        self._places = [(group, at) for group, size in enumerate(self._sizes) for at in range(size)]
        self._first = [sum(self._sizes[:group]) for group in range(len(groups))]

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The next target, one outside `skip` unless all are in it."""
        order = self._in_turn() if key is None else self._at(key)
        group = order[0]
        inside: set[int] = set()
        if skip:
            skipped: list[set[int]] = [set() for _ in self._sizes]
            for index in skip:
                its, at = self._places[index]
                skipped[its].add(at)
            usable = (each for each in order if len(skipped[each]) < self._sizes[each])
            group = next(usable, group)
            inside = skipped[group]
        if key is None:
            self._behind[group] = max(self._behind[group] - 1.0, -float(len(self._sizes)))
        return self._first[group] + self._choices[group].pick(now, inside, key)

    def release(self, index: int, now: float, took: float | None = None) -> None:
        """A call that was picked for this target is over."""
        group, at = self._places[index]
        self._choices[group].release(at, now, took)

    def seconds(self, index: int) -> float | None:
        """How long its calls take lately, where the choice among its group knows."""
        group, at = self._places[index]
        return self._choices[group].seconds(at)

    def _in_turn(self) -> list[int]:
        """The groups, the one that is furthest behind its share first."""
        behind, most = self._behind, float(len(self._sizes))
        for group, share in enumerate(self._shares):
            behind[group] = min(behind[group] + share, most)
        return sorted(range(len(behind)), key=lambda group: -behind[group])

    def _at(self, key: str | bytes) -> list[int]:
        """The groups, that in whose share the key lies first."""
        data = key.encode() if isinstance(key, str) else key
        point = int.from_bytes(blake2b(data, digest_size=6).digest(), "big") / 2**48
        order = list(range(len(self._shares)))
        for group, share in enumerate(self._shares):
            point -= share
            if point < 0:
                return order[group:] + order[:group]
        return order

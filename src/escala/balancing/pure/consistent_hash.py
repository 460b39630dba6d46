"""The same target for the same key, as long as that target has room."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from escala.balancing.pure.choice import Choice, Member
from escala.balancing.pure.passed_over import passed_over
from escala.hashing import HashRing

_DRAWS = 2**53  # as many random numbers as there are


class ConsistentHashChoice(Choice):
    """The first target from the key on that may have one call more.

    With it, no target has more than `load_factor` times its share of all calls in flight, rounded
    up. Where some are in `skip` the same holds for the others and their calls. The sum of all
    calls is kept, so a pick looks only at the targets that it passes by, however many there are.

    A call without a key goes to a random place.
    """

    __slots__ = (
        *("_draw", "_in_flight", "_indices", "_limits", "_names", "_ring", "_total"),
        *("_under", "_weight", "_weights"),
    )

    def __init__(
        self,
        members: Sequence[Member],
        ring: HashRing,
        load_factor: float,
        draw: Callable[[], float],
    ) -> None:
        self._ring, self._draw = ring, draw
        self._indices = {member.name: index for index, member in enumerate(members)}
        self._weights = [member.weight for member in members]
        self._in_flight = [member.in_flight for member in members]
        self._weight, self._total = sum(self._weights), sum(self._in_flight)
        over, self._under = load_factor.as_integer_ratio()
        self._limits = [over * weight for weight in self._weights]

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The key's target, or the next one that has room."""
        del now
        if key is None:
            key = int(self._draw() * _DRAWS).to_bytes(7)
        out = passed_over(skip, len(self._weights)) if skip else []
        index = self._indices[self._ring.node(key)]
        if out or not self._has_room(index, self._total, self._weight):
            index = self._next(key, out)
        self._in_flight[index] += 1
        self._total += 1
        return index

    def release(self, index: int, now: float, took: float | None = None) -> None:
        """One call fewer for this target."""
        del now, took
        self._in_flight[index] -= 1
        self._total -= 1

    def _has_room(self, index: int, total: int, weight: int) -> bool:
        """Whether its calls are below its limit when one comes to these, in whole numbers."""
        return self._in_flight[index] * self._under * weight < (total + 1) * self._limits[index]

    def _next(self, key: str | bytes, out: list[int]) -> int:
        total = self._total - sum(self._in_flight[index] for index in out)
        weight = self._weight - sum(self._weights[index] for index in out)
        met = (self._indices[name] for name in self._ring.walk(key))
        return next(
            index for index in met if index not in out and self._has_room(index, total, weight)
        )

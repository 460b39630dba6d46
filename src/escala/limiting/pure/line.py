"""Who waits for tokens, in which order, and when each one's turn is."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from escala.limiting.pure.key_map import KeyMap

W = TypeVar("W")


class Turn(Generic[W]):
    """A caller's place in the line of its key; `due` is on the token clock of `GcraMachine`.

    The tokens are taken when the turn is given, so `due` holds whatever comes later; it only
    ever moves nearer. `waker` is how to reach a caller that waits for it.
    """

    __slots__ = ("cost", "due", "key", "waker")

    def __init__(self, key: Hashable, cost: int, due: float) -> None:
        self.key, self.cost, self.due = key, cost, due
        self.waker: W | None = None


class _Line(Generic[W]):
    __slots__ = ("owed", "turns")

    def __init__(self) -> None:
        self.owed = 0
        self.turns: OrderedDict[Turn[W], None] = OrderedDict()


class WaitingLines(Generic[W]):
    """A line for each key that has one; first come, first served.

    Each caller waits on its own for its own moment, so one that is late or gone holds up no one.
    A caller that leaves the line gives its tokens back, and all behind it move up: the next one
    at once, the others when they have become the next.
    """

    __slots__ = ("_burst", "_keys", "_lines")

    def __init__(self, keys: KeyMap, burst: int) -> None:
        self._keys, self._burst = keys, burst
        self._lines: dict[Hashable, _Line[W]] = {}

    def waiting(self, key: Hashable) -> int:
        """How many wait for tokens of this key."""
        line = self._lines.get(key)
        return 0 if line is None else len(line.turns)

    def join(self, key: Hashable, cost: int) -> Turn[W]:
        """Take the last place, for a key that has just been refused."""
        full = self._keys.moments[key] + cost
        self._keys.moments[key] = full
        turn = Turn[W](key, cost, full - self._burst)
        line = self._lines.setdefault(key, _Line())
        line.turns[turn] = None
        line.owed += cost
        return turn

    def served(self, turn: Turn[W]) -> Turn[W] | None:
        """A turn is over; the one that is next now, if its moment is nearer than it knows."""
        return self._without(turn, given_back=0)

    def left(self, turn: Turn[W]) -> Turn[W] | None:
        """A caller does not wait any longer, and gives its tokens back; answers as `served`."""
        return self._without(turn, given_back=turn.cost)

    def _without(self, turn: Turn[W], *, given_back: int) -> Turn[W] | None:
        line = self._lines.get(turn.key)
        if line is None or turn not in line.turns:  # taken out before, as one that was gone
            return None
        line.owed -= turn.cost
        if turn.key in self._keys.moments:  # else the key was forgotten meanwhile
            self._keys.moments[turn.key] -= given_back
        del line.turns[turn]
        if not line.turns:
            del self._lines[turn.key]
            return None
        head = next(iter(line.turns))
        full = self._keys.moments.get(turn.key, math.inf)
        due = full - line.owed + head.cost - self._burst
        if due >= head.due:
            return None
        head.due = due
        return head

"""Who waits for tokens, in which order, and when each one's turn is."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from escala.limiting.pure.machine import Machine

W = TypeVar("W")


class Turn(Generic[W]):
    """A caller's place in the line of its key.

    `due` is when its tokens will be there: exact for the first in the line, and for the others
    the earliest it can be if all before them stay, which under one limit is when it will be.
    `waker` is how to reach a caller that waits for it.
    """

    __slots__ = ("came", "cost", "due", "granted", "key", "waker")

    def __init__(self, key: Hashable, cost: int, came: float, due: float) -> None:
        self.key, self.cost, self.came, self.due = key, cost, came, due
        self.granted = False
        self.waker: W | None = None


class _Line(Generic[W]):
    __slots__ = ("clock", "owed", "turns")

    def __init__(self, clock: float) -> None:
        self.clock = clock  # when the last turn was due
        self.owed = 0
        self.turns: OrderedDict[Turn[W], None] = OrderedDict()


class WaitingLines(Generic[W]):
    """A line for each key that has one; first come, first served, by any algorithm.

    Whoever comes by serves all whose turn has come: the caller that waits, or anyone else. So one
    that wakes late or is gone holds up no one. A turn is charged as of the moment it was due, so
    that being late makes no one behind it later; under a strict limit it is charged as of now.
    When a caller leaves, all behind it move up: the next one at once, the others when they have
    become the next. Nothing is charged for those who wait, so there is nothing to give back.

    What answers with turns answers with those to be told, in this order: that they are served, or
    that their moment is nearer now.
    """

    __slots__ = ("_machine", "lines")

    def __init__(self, machine: Machine[Any]) -> None:
        self._machine = machine
        self.lines: dict[Hashable, _Line[W]] = {}

    def waiting(self) -> int:
        """How many wait, for any key."""
        return sum(len(line.turns) for line in self.lines.values())

    def owed(self, key: Hashable) -> int:
        """How many tokens those who wait for this key will take."""
        line = self.lines.get(key)
        return 0 if line is None else line.owed

    def join(self, key: Hashable, cost: int, now: float) -> Turn[W]:
        """Take the last place, for a key whose tokens are not there."""
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = _Line(now)
        due = now + self._machine.wait(key, cost, now, line.owed)
        turn = Turn[W](key, cost, now, due)
        line.turns[turn] = None
        line.owed += cost
        return turn

    def settle(self, key: Hashable, now: float) -> list[Turn[W]]:
        """Serve all whose turn has come."""
        line = self.lines.get(key)
        served: list[Turn[W]] = []
        nearer: list[Turn[W]] = []
        while line is not None:
            turn = next(iter(line.turns))
            if turn.due > now:
                break
            at = now if self._machine.strict else max(turn.due, line.clock)
            wait = self._machine.take(key, turn.cost, at)
            if wait:  # only when tokens went to no one in the line
                turn.due = max(at + wait, math.nextafter(at, math.inf))
                continue
            turn.granted, line.clock = True, at
            served.append(turn)
            nearer = self._without(line, turn)
            line = self.lines.get(key)
        return served + nearer

    def leave(self, turn: Turn[W], now: float) -> list[Turn[W]]:
        """A caller does not wait any longer; one that was served gives its tokens back."""
        if turn.granted:
            turn.granted = False
            self._machine.give_back(turn.key, turn.cost, now)
            return self.moved(turn.key, now)
        line = self.lines.get(turn.key)
        if line is None or turn not in line.turns:  # taken out before, as one that was gone
            return []
        first = next(iter(line.turns)) is turn
        told = self._without(line, turn)
        return told if first else []

    def moved(self, key: Hashable, now: float) -> list[Turn[W]]:
        """Tokens were given back or a key was reset: the first in line may be earlier."""
        line = self.lines.get(key)
        if line is None:
            return []
        line.clock = max(line.clock, now)
        return self._first(line)

    def first_due(self, key: Hashable) -> float:
        """When the first in the line of this key is due; infinite without a line."""
        line = self.lines.get(key)
        return math.inf if line is None else next(iter(line.turns)).due

    def _without(self, line: _Line[W], turn: Turn[W]) -> list[Turn[W]]:
        del line.turns[turn]
        line.owed -= turn.cost
        if not line.turns:
            del self.lines[turn.key]
            return []
        return self._first(line)

    def _first(self, line: _Line[W]) -> list[Turn[W]]:
        """Find out anew when the first in line is due."""
        turn = next(iter(line.turns))
        at = max(turn.came, line.clock)
        due = at + self._machine.wait(turn.key, turn.cost, at)
        nearer = due < turn.due
        turn.due = due
        return [turn] if nearer else []

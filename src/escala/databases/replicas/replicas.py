"""Picks the replica of a transaction among those that may be read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple

from escala.balancing.balancer import Balancer
from escala.balancing.pure.choice import Choice, Member
from escala.databases.pure.topology import View
from escala.kernel.at_fork import begin_anew, free


class Pick(NamedTuple):
    """A replica in use: give it back with `Replicas.release`."""

    node: int
    slot: int
    choice: Choice
    at: float
    counts: dict[int, int]
    """Where it is counted as in flight."""


class Replicas:
    """A balancer over the replicas of a view; a new choice is made when those change."""

    def __init__(self, balancer: Balancer, draw: Callable[[], float]) -> None:
        self._balancer, self._draw = balancer, draw
        self._lock = threading.RLock()
        self._forget()
        begin_anew(self, Replicas._forked)

    def _forget(self) -> None:
        self._readable: tuple[tuple[int, int], ...] = ()
        self._choice: Choice | None = None
        self._slots: dict[int, int] = {}
        self.in_flight: dict[int, int] = {}
        self.dropped: deque[Pick] = deque()
        """Those that no one will give back; a garbage collector can add to it at any moment."""

    def _forked(self) -> None:
        free(self._lock)
        self._forget()

    def pick(self, view: View, now: float, skip: Collection[int] = ()) -> Pick | None:
        """A readable replica outside `skip`, if there is one."""
        with self._lock:
            while self.dropped:
                self.release(self.dropped.popleft(), now, None)
            if view.readable is not self._readable:
                self._settle(view)
            if self._choice is None:
                return None
            skipped = {self._slots[node] for node in skip if node in self._slots} if skip else ()
            if len(skipped) == len(self._readable):
                return None
            slot = self._choice.pick(now, skipped)
            node = self._readable[slot][0]
            self.in_flight[node] = self.in_flight.get(node, 0) + 1
            return Pick(node, slot, self._choice, now, self.in_flight)

    def release(self, pick: Pick, now: float, took: float | None) -> None:
        """The transaction is over; `took` is how long its first statement took."""
        with self._lock:
            if pick.counts is not self.in_flight:
                return  # it was picked before this process was forked
            self.in_flight[pick.node] -= 1
            if pick.choice is self._choice:
                pick.choice.release(pick.slot, now, took)
            elif self._choice is not None and pick.node in self._slots:
                self._choice.release(self._slots[pick.node], now, None)

    def _settle(self, view: View) -> None:
        before, slots = self._choice, self._slots
        members = [
            Member(
                view.nodes[node].name,
                weight,
                self.in_flight.get(node, 0),
                before.seconds(slots[node]) if before and node in slots else None,
            )
            for node, weight in view.readable
        ]
        self._readable = view.readable
        self._slots = {node: slot for slot, (node, _) in enumerate(view.readable)}
        self._choice = self._balancer.over(members, self._draw) if members else None

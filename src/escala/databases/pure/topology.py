"""Which node takes the writes and which replicas may be read, out of what the nodes say."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

WHOLE = 8  # the weight of a replica that takes its full share
_SAMPLES = 128
_AGAIN = 0.5  # who was out for its lag comes back at half the limit, so that it does not flap


class Sighting(NamedTuple):
    """What a node answered: `node` is its index, times are monotonic seconds of this process."""

    node: int
    began: float
    at: float
    system_id: int
    in_recovery: bool
    timeline: int
    lsn: int
    """Bytes of WAL: inserted by a primary, replayed by a standby."""
    received: int = 0
    """Bytes of WAL that a standby has received."""
    age: float | None = None
    """Seconds since the transaction that a standby replayed last was committed, by its clock."""


class NodeView(NamedTuple):
    """A node as it was seen last; `reason` says why it is not read."""

    name: str
    role: str
    """"primary", "replica", "fenced" (it writes, and must not), "stranger" or "unknown"."""
    readable: bool
    reason: str
    timeline: int
    lsn: int
    received: int
    lag_bytes: int | None
    lag_seconds: float | None
    weight: int


class View(NamedTuple):
    """All that is known at one moment; never changed, so it is read without a lock."""

    generation: int
    """Grows with each change of the primary."""
    system_id: int | None
    timeline: int
    """The highest that any node has shown: a writer of a lower one is fenced for good."""
    primary: int | None
    nodes: tuple[NodeView, ...]
    readable: tuple[tuple[int, int], ...]
    """The replicas that may be read, as (index, weight); the same object until that changes."""
    samples: tuple[tuple[float, int], ...]
    """(began, LSN) of the primary's last polls."""

    def lsn_after(self, moment: float) -> int | None:
        """What the primary had written at its first poll begun after `moment`; None before it."""
        first = bisect_left(self.samples, moment, key=itemgetter(0))
        return self.samples[first][1] if first < len(self.samples) else None


class _Node:
    __slots__ = (
        "back",
        "failure",
        "lag_bytes",
        "lag_seconds",
        "readable",
        "reason",
        "returns",
        "sighting",
        "timeline",
    )

    def __init__(self) -> None:
        self.sighting: Sighting | None = None
        self.failure = self.reason = "it was not seen yet"
        self.timeline = 0
        self.readable = self.returns = False
        self.back: float | None = None  # since when it is back
        self.lag_bytes: int | None = None
        self.lag_seconds: float | None = None

    def weight(self, now: float, slow_start: float) -> int:
        if self.back is None or now - self.back >= slow_start:
            return WHOLE
        return max(1, math.ceil(WHOLE * (now - self.back) / slow_start))


class Topology:
    """Sightings and failures go in, a `View` comes out.

    The primary is the one node that is not in recovery and writes the highest timeline that any
    node has shown. Nothing is believed before `quorum` nodes (a majority of all) have named the
    same system identifier; nodes of another system are never used. The primary stays while it
    cannot be reached: only a higher timeline, or itself as a standby, takes its place. Two that
    write the same timeline are none, unless one of them was the primary already.

    A replica is read while it lags by at most `max_bytes` and `max_age` seconds, and is back when
    it lags by half of that or less; then its weight grows over `slow_start` seconds. The lag in
    seconds is how long the primary has had what the replica lacks, by this process's own clock;
    where that began before the first look at the primary, what the replica says itself counts.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        max_bytes: float,
        max_age: float,
        slow_start: float,
        quorum: int | None = None,
    ) -> None:
        self._names = tuple(names)
        self._quorum = len(names) // 2 + 1 if quorum is None else quorum
        self._max_bytes, self._max_age, self._slow_start = max_bytes, max_age, slow_start
        self._nodes = [_Node() for _ in names]
        self._system_id: int | None = None
        self._timeline = 0
        self._primary: int | None = None
        self._generation = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._readable: tuple[tuple[int, int], ...] = ()
        self._now = -math.inf

    def saw(self, sighting: Sighting) -> View:
        """A node answered."""
        self._now = max(self._now, sighting.at)
        node = self._nodes[sighting.node]
        before = node.sighting
        node.timeline = sighting.timeline
        if sighting.in_recovery and before is not None and before.in_recovery:
            # While nothing streams, a standby knows its timeline only from its last checkpoint.
            node.timeline = max(before.timeline, sighting.timeline)
        node.sighting, node.failure = sighting._replace(timeline=node.timeline), ""
        if self._system_id is None:
            self._system_id = self._agreed()
        self._timeline = max(
            self._timeline, *(self._ours(each) and each.timeline for each in self._nodes)
        )
        found = self._found_primary()
        if sighting.node == self._primary and not found:
            self._samples.append((sighting.began, sighting.lsn))
        self._measure(node)
        return self._judged()

    def failed(self, index: int, at: float, reason: str) -> View:
        """A node did not answer, or not in time."""
        self._now = max(self._now, at)
        self._nodes[index].failure = reason
        return self._judged()

    def view(self) -> View:
        """What is known now."""
        return View(
            self._generation,
            self._system_id,
            self._timeline,
            self._primary,
            tuple(self._node_view(index) for index in range(len(self._nodes))),
            self._readable,
            tuple(self._samples),
        )

    def _agreed(self) -> int | None:
        """The system identifier that enough of the nodes have named."""
        named = [node.sighting.system_id for node in self._nodes if node.sighting]
        return next((each for each in named if named.count(each) >= self._quorum), None)

    def _ours(self, node: _Node) -> bool:
        seen = node.sighting
        return seen is not None and seen.system_id == self._system_id

    def _writes(self, node: _Node) -> bool:
        """Whether it said that it takes writes, on the highest timeline."""
        seen = node.sighting
        if seen is None or not self._ours(node):
            return False
        return not seen.in_recovery and node.timeline == self._timeline

    def _found_primary(self) -> bool:
        """Look for the primary where it is not known any more; true if there is a new one."""
        if self._primary is not None and self._writes(self._nodes[self._primary]):
            return False
        writers = [index for index, node in enumerate(self._nodes) if self._writes(node)]
        primary = writers[0] if len(writers) == 1 else None
        if primary is not None and self._nodes[primary].failure:
            primary = None
        if primary == self._primary:
            return False
        self._primary = primary
        self._generation += 1
        if primary is None or (seen := self._nodes[primary].sighting) is None:
            return False
        self._samples.clear()
        self._samples.append((seen.began, seen.lsn))
        for node in self._nodes:
            self._measure(node)
        return True

    def _measure(self, node: _Node) -> None:
        seen = node.sighting
        node.lag_bytes = node.lag_seconds = None
        if seen is None or not seen.in_recovery or not self._samples or not self._ours(node):
            return
        node.lag_bytes = max(0, self._samples[-1][1] - seen.lsn)
        lacking = bisect_right(self._samples, seen.lsn, key=itemgetter(1))
        if lacking == len(self._samples):
            node.lag_seconds = 0.0
            return
        node.lag_seconds = max(0.0, seen.began - self._samples[lacking][0])
        if lacking == 0 and seen.age is not None:
            node.lag_seconds = max(node.lag_seconds, seen.age)

    def _judged(self) -> View:
        for index, node in enumerate(self._nodes):
            node.reason = self._reason(index, node)
            if node.reason:
                node.returns = node.returns or node.readable
                node.readable = False
            elif not node.readable:
                node.readable = True
                node.back = self._now if node.returns else None
        readable = tuple(
            (index, node.weight(self._now, self._slow_start))
            for index, node in enumerate(self._nodes)
            if node.readable
        )
        if readable != self._readable:
            self._readable = readable
        return self.view()

    def _reason(self, index: int, node: _Node) -> str:
        """Why a node is not read; empty if it may be."""
        seen = node.sighting
        if seen is None or node.failure:
            return node.failure
        if self._system_id is None:
            few = f"fewer than {self._quorum} of {len(self._nodes)} nodes"
            return f"{few} have named the same system identifier yet"
        if not self._ours(node):
            return f"it belongs to another cluster (system identifier {seen.system_id})"
        if node.timeline < self._timeline:
            does = "follows" if seen.in_recovery else "writes"
            return f"it {does} timeline {node.timeline}, and {self._timeline} has been seen"
        if not seen.in_recovery:
            return "it is the primary" if index == self._primary else "it says it is primary too"
        return self._lags(node)

    def _lags(self, node: _Node) -> str:
        if node.lag_bytes is None or node.lag_seconds is None:
            return "no primary was seen yet, so its lag is not known"
        part = _AGAIN if node.returns and not node.readable else 1.0
        if node.lag_bytes > self._max_bytes * part:
            return f"it lags by {node.lag_bytes} bytes"
        if node.lag_seconds > self._max_age * part:
            return f"it lags by {node.lag_seconds:.3g} s"
        return ""

    def _node_view(self, index: int) -> NodeView:
        node = self._nodes[index]
        seen = node.sighting
        if seen is None:
            role = "unknown"
        elif self._system_id is not None and not self._ours(node):
            role = "stranger"
        elif seen.in_recovery:
            role = "replica"
        else:
            role = "primary" if index == self._primary else "fenced"
        return NodeView(
            self._names[index],
            role,
            node.readable,
            node.reason,
            node.timeline,
            seen.lsn if seen else 0,
            seen.received if seen else 0,
            node.lag_bytes,
            node.lag_seconds,
            node.weight(self._now, self._slow_start),
        )

"""What a reader must not see the past of: how far the primary had come when it last knew."""

from __future__ import annotations

import threading

from escala.databases.pure.topology import View
from escala.kernel.at_fork import begin_anew, free

_lock = threading.RLock()  # for all of them: it is held for a moment, and seldom


class Seen:
    """A floor under the replicas that may answer: only those that have replayed as much.

    What was seen of a replica is known in bytes at once. What was seen or written at the primary
    is known only by when that was, until the monitor asks the primary how far it is: no
    transaction pays a query for it.
    """

    __slots__ = ("lsn", "since", "timeline")

    def __init__(self, lsn: int = 0, timeline: int = 0) -> None:
        self.lsn, self.timeline = lsn, timeline
        self.since: float | None = None

    def at_primary(self, moment: float) -> None:
        """A transaction at the primary is over."""
        with _lock:
            if self.since is None or moment > self.since:
                self.since = moment

    def at_replica(self, lsn: int) -> None:
        """A transaction reads a replica that has replayed at least so much."""
        if lsn > self.lsn:
            self.at_least(lsn, 0)

    def at_least(self, lsn: int, timeline: int) -> None:
        """Someone else has seen this much."""
        with _lock:
            self.lsn, self.timeline = max(self.lsn, lsn), max(self.timeline, timeline)

    def join(self, other: Seen) -> None:
        """Someone else's floor is ours as well."""
        self.at_least(other.lsn, other.timeline)
        if other.since is not None:
            self.at_primary(other.since)

    def asked(self, moment: float, lsn: int, timeline: int) -> None:
        """The primary was asked after `moment`: all before that is settled."""
        self.at_least(lsn, timeline)
        with _lock:
            if self.since is not None and self.since <= moment:
                self.since = None

    def floor(self, view: View) -> int | None:
        """Bytes of WAL that a replica must have replayed; None while no one can say."""
        since = self.since
        if since is not None:
            lsn = view.lsn_after(since)
            if lsn is None:
                return None
            self.asked(since, lsn, view.timeline)
        return self.lsn if self.timeline <= view.timeline else None


begin_anew(Seen, lambda _: free(_lock))

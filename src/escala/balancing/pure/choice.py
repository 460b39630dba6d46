"""What every balancing algorithm answers: who is next."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol


class Member(NamedTuple):
    """A target as a new choice finds it: who it is, what it can take, and how it did so far."""

    name: str
    """The same in every process, since consistent hashing places it by this."""
    weight: int = 1
    """How much it can take compared with the others of this choice."""
    in_flight: int = 0
    """Calls that are with it already."""
    seconds: float | None = None
    """What the choice before this one had learned of its latency: `Choice.seconds`."""
    share: float | None = None
    """Its weight on a scale that is the same for all choices, for consistent hashing: were the
    weights of all to double, all keys would move. `weight` is on such a scale if left out."""


class Choice(Protocol):
    """A choice among n targets, numbered from 0; it lives as long as that set of targets.

    When the set changes (a target fell ill, came back, or has another weight) a new choice is
    made over the new set. The caller keeps it under a lock. `now` is any clock in seconds that
    does not go back.
    """

    __slots__ = ()

    def pick(self, now: float, skip: Collection[int] = (), key: str | bytes | None = None) -> int:
        """The next target, one outside `skip` unless all are in it.

        `key` is what the call is about, for those who send the same key to the same target.
        """
        ...

    def release(self, index: int, now: float, took: float | None = None) -> None:
        """A call that was picked for this target is over.

        `took` is how many seconds the target needed for it, or None when that says nothing of
        the target's speed: the call was cancelled, or failed sooner than answers take
        (`seconds`). A failure that took longer, such as a timeout, says a lot.
        """
        del index, now, took

    def seconds(self, index: int) -> float | None:
        """What is known of the target's latency, for the next choice; None if nothing is."""
        del index
        return None

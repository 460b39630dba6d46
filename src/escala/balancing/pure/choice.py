"""What every balancing algorithm answers: who is next."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Choice(Protocol):
    """A choice among n targets, numbered from 0; it lives as long as that set of targets.

    When the set changes (a target fell ill, or came back) a new choice is made over the new set.
    The caller keeps it under a lock.
    """

    def pick(self, skip: Collection[int] = ()) -> int:
        """The next target, one outside `skip` unless all are in it."""
        ...

    def release(self, index: int) -> None:
        """A call that was picked for this target is over."""
        ...

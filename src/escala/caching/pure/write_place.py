"""The writes of one key on their way to the source."""

from __future__ import annotations

import enum
from collections import deque
from typing import Generic, TypeVar

W = TypeVar("W")


class State(enum.Enum):
    """Where a place is."""

    IDLE = "idle"
    READY = "ready"
    SUSPECT = "suspect"
    AWAY = "away"
    PARKED = "parked"


class Entry(Generic[W]):
    """A write that waits: of several that were merged, the last one's number and all their rows.

    `rows` are what the journal keeps for it. A `sealed` one does not change any more: it may
    have been sent as it is. `through` waits until the source has it, since no journal does.
    """

    __slots__ = (
        "born",
        "deleted",
        "era",
        "key",
        "payload",
        "rows",
        "sealed",
        "sequence",
        "through",
    )

    def __init__(
        self,
        key: str,
        payload: bytes,
        sequence: int,
        *,
        deleted: bool = False,
        sealed: bool = False,
        through: W | None = None,
    ) -> None:
        self.key, self.payload, self.sequence = key, payload, sequence
        self.deleted, self.sealed, self.through = deleted, sealed or through is not None, through
        self.rows: list[int] = [] if through is not None else [sequence]
        self.born = 0.0
        self.era = -1


class Place(Generic[W]):
    """The writes of one key, and how the first of them has fared."""

    __slots__ = (
        "arriving",
        "cause",
        "entries",
        "failures",
        "hurried",
        "key",
        "retry_at",
        "saves",
        "state",
        "tries",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.entries: deque[Entry[W]] = deque()
        self.arriving = 0
        self.state = State.IDLE
        self.hurried = False
        self.failures = self.tries = self.saves = 0
        self.retry_at = 0.0
        self.cause = ""


class Done(Generic[W]):
    """What follows from a batch's outcome, for the shell to do."""

    __slots__ = ("parked", "rows", "through", "wake")

    def __init__(self) -> None:
        self.rows: list[int] = []  # that the journal need not keep
        self.through: list[W] = []  # whose writes are saved, or have failed, as the batch has
        self.parked: list[Entry[W]] = []
        self.wake: list[W] = []  # who has got a place, or waited for a flush that is done

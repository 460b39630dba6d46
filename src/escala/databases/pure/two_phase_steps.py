"""What a commit over several shards does next: all of them commit, or none does.

First every shard but one promises that it can commit (`PREPARE TRANSACTION`), which outlives a
crash. Then the one shard left, the decision shard, commits its own part together with a row that
says so: from that moment on it has happened, and before it nothing has. Then the others are told.

Jim Gray, *Notes on Data Base Operating Systems*, 1978. That no decision means abort is from C.
Mohan, Bruce Lindsay and Ron Obermarck, *Transaction Management in the R Star Distributed Database
Management System*, TODS 1986.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

PREFIX = "escala:"
_PART = re.compile(rf"({PREFIX}(.+):[^:]+):\d+", re.DOTALL)
LONGEST = 199  # bytes of a name of a prepared transaction in PostgreSQL


class Do(Enum):
    """A step. Each is for one shard."""

    BEGIN = "see that the decision shard is there, and that its transaction has a number"
    PREPARE = "have it promise that it can commit"
    DECIDE = "write the decision and commit"
    ASK = "ask what was decided, and decide to abort if nothing was"
    COMMIT = "commit what was prepared"
    ROLL_BACK = "roll back what was prepared"


class Step(NamedTuple):
    """What to do, and where."""

    do: Do
    shard: str


class TwoPhaseSteps:
    """Ask for the `step`, do it, say how it went with `done` or `failed`, until there is none.

    Afterwards `outcome` is "commit", "abort" or "unknown", and `in_doubt` has the shards that
    have not been told, or where no one knows whether they promised.
    """

    def __init__(self, shards: Iterable[str]) -> None:
        ordered = sorted(shards)
        self.decision, self.others = ordered[0], ordered[1:]
        self.outcome: str | None = None
        self.in_doubt: set[str] = set()
        self._todo = [
            Step(Do.BEGIN, self.decision),
            *(Step(Do.PREPARE, shard) for shard in self.others),
            Step(Do.DECIDE, self.decision),
        ]
        self._promised: list[str] = []

    @property
    def step(self) -> Step | None:
        """What comes next; `None` when all is done."""
        return self._todo[0] if self._todo else None

    def done(self, answer: str = "") -> None:
        """It went well; `answer` is what was decided, when that was the question."""
        step = self._todo.pop(0)
        if step.do is Do.PREPARE:
            self._promised.append(step.shard)
        elif step.do is Do.DECIDE or (step.do is Do.ASK and answer == "commit"):
            self._settle("commit", Do.COMMIT)
        elif step.do is Do.ASK:
            self._settle("abort", Do.ROLL_BACK)

    def failed(self, *, broke: bool) -> None:
        """It did not; `broke` when the connection did, so that it may have been done for all that.

        Otherwise the server has refused, and nothing was done.
        """
        step = self._todo.pop(0)
        if step.do in {Do.COMMIT, Do.ROLL_BACK}:
            self.in_doubt.add(step.shard)
        elif step.do is Do.ASK:
            self.outcome = "unknown"
            self.in_doubt.update(self._promised)
        elif step.do is Do.DECIDE and broke:
            self._todo = [Step(Do.ASK, self.decision)]
        else:
            if step.do is Do.PREPARE and broke:
                self.in_doubt.add(step.shard)
            self._settle("abort", Do.ROLL_BACK)

    def _settle(self, outcome: str, do: Do) -> None:
        self.outcome = outcome
        self._todo = [Step(do, shard) for shard in self._promised]


def gid(decision: str, unique: str) -> str:
    """The name of a commit: it says which shard knows what was decided."""
    return f"{PREFIX}{decision}:{unique}"


def part(gid: str, number: int) -> str:
    """What a shard prepares under: names are unique in a server, and it may have several shards."""
    return f"{gid}:{number}"


class Part(NamedTuple):
    """What the name of a prepared transaction says."""

    gid: str
    decision: str


def parsed(name: str) -> Part | None:
    """The commit that a prepared transaction is a part of; `None` when it is none of ours."""
    found = _PART.fullmatch(name)
    return Part(found[1], found[2]) if found else None

"""Every exception Escala raises, so that one import is enough to catch any of them.

A message says who refused, why, and what to do next. `Rejected` means the call never ran;
`Unavailable` means that it had nowhere to go; `DeadlineExceeded` that its time was up.
"""

from __future__ import annotations

from collections.abc import Sequence


class EscalaError(Exception):
    """Root: catch this to catch everything that is ours."""


class Rejected(EscalaError):
    """The call was refused before it ran, so it is safe to try again later.

    `policy` names who refused and `retry_after` is in seconds, `None` when no one can say.
    Escala's own retry never retries one of these, and no breaker counts it as a failure.
    """

    def __init__(self, policy: str, reason: str, retry_after: float | None = None) -> None:
        self.policy, self.reason, self.retry_after = policy, reason, retry_after
        super().__init__(policy, reason, retry_after)

    def __str__(self) -> str:
        text = f"{self.policy}: {self.reason}"
        if self.retry_after is not None:
            digits = ".3g" if self.retry_after < 100 else ".0f"  # noqa: PLR2004  never "1e+03"
            text += f"; try again in {self.retry_after:{digits}} s"
        return text


class CircuitOpen(Rejected):
    """The breaker is open, or all probes of its half-open state are taken."""


class BulkheadFull(Rejected):
    """No slot is free, and the queue is full or the wait in it took too long."""


class RateLimited(Rejected):
    """The rate limit for this key is used up."""


class Shed(Rejected):
    """The call was turned away to keep the others fast: too much load for its priority."""


class DeadlineExceeded(EscalaError, TimeoutError):
    """The time given to the call, or to this attempt of it, is up."""


class Unavailable(EscalaError):
    """What the call depends on cannot be reached."""


class NoHealthyBackend(Unavailable):
    """Every target of the upstream is down or ejected."""


class StoreUnavailable(Unavailable):
    """A store (Redis, PostgreSQL, SQLite) does not answer, or answers with an error."""


class JournalFull(StoreUnavailable):
    """A journal did not take a record: its disk is full, or too many wait for the disk."""


class JournalTaken(Unavailable):
    """A journal belongs to another process; whatever is written here now is refused."""


class BackendError(Unavailable):
    """A target was reached, and broke the connection or the protocol."""


class BackendUnreachable(BackendError):
    """A target could not be connected to: nothing of the call was sent."""


class OriginFailed(Unavailable):
    """An origin did not give a cache what it was asked for, or did not forget it."""


class NoPrimary(Unavailable):
    """No node of the database may take writes now, or none can be trusted to."""


class Fenced(Unavailable):
    """The node is of an older timeline, or no longer the primary: nothing was committed there."""


class CommitUnknown(Unavailable):
    """The connection broke while the commit was under way: it happened, or it did not.

    Look before you repeat it: only a write that may happen twice is safe to send again.
    """


class ReadOnlyTransaction(EscalaError):
    """A write came in a transaction that began on a replica, where it cannot go."""


class UnknownKey(EscalaError, LookupError):
    """No shard is responsible for this key: outside every range, or in no list or region."""


class NoShardKey(EscalaError, ValueError):
    """A statement does not say which shard it is for, and did not ask for all of them."""


class CannotMerge(EscalaError, ValueError):
    """The answers of several shards to this statement do not make the answer of one database."""


class MapOutdated(EscalaError):
    """The shard has another map of the shards than this router, so nothing was done."""


class CannotReshard(EscalaError):
    """A step of a move between shards is refused, and nothing was changed by it."""


class ClockWentBack(EscalaError):
    """The wall clock stepped back too far for ids to stay unique without a long wait."""


class CannotEncode(EscalaError, ValueError):
    """A value cannot be kept as bytes: it would not come back as it went in."""


class Undecodable(EscalaError, ValueError):
    """Bytes in a store are no value that this program can read; a cache loads it anew."""


class WouldBlock(EscalaError, RuntimeError):
    """A sync call would have had to wait inside a running event loop: use its `a` twin."""


class Deadlock(EscalaError, RuntimeError):
    """In virtual time, every task waits and nothing is left that could wake one."""


class ConfigError(EscalaError, ValueError):
    """A configuration is wrong; `problems` holds one line for each thing to mend."""

    def __init__(self, *problems: str) -> None:
        self.problems: Sequence[str] = problems
        super().__init__("\n".join(problems))

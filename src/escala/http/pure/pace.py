"""Whether a client keeps pace: header in time, body not in drips, answers taken, no idling on.

Judged about once a second for each connection, so that no request pays for a timer of its own.
"""

from __future__ import annotations

import enum
import math

from escala.http.limits import Limits

_LINGER = 2.0  # seconds of reading on after a refusal, so that the client sees the answer


class Verdict(enum.Enum):
    """What to do with the connection."""

    FINE = "fine"
    CLOSE = "close"  # nothing is owed to it
    SLOW_HEAD = "the request header took too long"
    SLOW_BODY = "the request body came too slowly"
    CUT = "cut"  # it takes no answer, or had its time to see one


class Pace:
    """One connection's clock. Times are seconds of whatever clock the caller reads."""

    __slots__ = ("_due", "_late", "_limits", "_mark", "_stuck", "_then")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._due = now + limits.header_time
        self._late = Verdict.CLOSE
        self._mark, self._then = now, 0
        self._stuck = (0, now)

    def head(self, now: float) -> None:
        """A header section begins."""
        self._due, self._late = now + self._limits.header_time, Verdict.SLOW_HEAD

    def body(self, now: float) -> None:
        """The header section is whole; a body may follow."""
        self._due = math.inf
        self._mark, self._then = now, 0

    def work(self) -> None:
        """It is we who take time now."""
        self._due = math.inf

    def idle(self, now: float) -> None:
        """Everything is answered."""
        self._due, self._late = now + self._limits.keepalive, Verdict.CLOSE

    def linger(self, now: float) -> None:
        """The last word is said."""
        self._due, self._late = now + _LINGER, Verdict.CUT

    def paused(self, now: float, received: int) -> None:
        """We did not read for a while: what did not come then is not the client's fault."""
        self._mark, self._then = now, received

    def judge(self, now: float, *, unsent: int, received: int | None) -> Verdict:
        """`unsent` bytes wait to be taken; `received` of a body we read (None: not reading one)."""
        limits = self._limits
        if not unsent or unsent != self._stuck[0]:
            self._stuck = (unsent, now)
        elif now - self._stuck[1] > limits.write_stall:
            return Verdict.CUT
        if received is not None and (window := now - self._mark) >= limits.body_window:
            if received - self._then < limits.body_rate * window:
                return Verdict.SLOW_BODY
            self._mark, self._then = now, received
        return self._late if now > self._due else Verdict.FINE

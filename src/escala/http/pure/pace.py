"""Whether a client keeps pace: header in time, body not in drips, answers taken, no idling on.

Judged by looking at each connection about once a second, so that no request pays for a timer
or reads a clock. What is seen for the first time counts from then: a verdict comes up to one
look late, never early.
"""

from __future__ import annotations

import enum
import math

from escala.http.limits import Limits

_LINGER = 2.0  # seconds of reading on after a refusal, so that the client sees the answer


class Phase(enum.Enum):
    """What a connection is doing."""

    FRESH = "fresh"  # nothing has come yet
    HEAD = "head"  # inside a header section
    BUSY = "busy"  # it is we who take time
    IDLE = "idle"  # everything is answered
    LINGER = "linger"  # the last word is said


class Verdict(enum.Enum):
    """What to do with the connection."""

    FINE = "fine"
    CLOSE = "close"  # nothing is owed to it
    SLOW_HEAD = "the request header took too long"
    SLOW_BODY = "the request body came too slowly"
    CUT = "cut"  # it takes no answer, or had its time to see one


class Pace:
    """What was seen of one connection. Times are seconds of whatever clock the caller reads."""

    __slots__ = ("_answer", "_body", "_limits", "_seen", "_since", "_stuck")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._seen: tuple[Phase, int] = (Phase.FRESH, 0)
        self._since = now
        self._body = (now, 0)  # when, and how many bytes of it had come
        self._stuck = (0, now)
        self._answer = (-1, now)

    def judge(
        self, now: float, phase: Phase, request: int, *, unsent: int, received: int | None
    ) -> Verdict:
        """Look at a connection that is in a phase of its request number `request`.

        `unsent` bytes wait to be taken; `received` bytes of its body have come, None while there
        is no body to read or it is we who do not read it.
        """
        limits = self._limits
        if not unsent or unsent != self._stuck[0]:
            self._stuck = (unsent, now)
        elif now - self._stuck[1] > limits.write_stall:
            return Verdict.CUT
        fresh = (phase, request) != self._seen
        if fresh:
            self._seen, self._since = (phase, request), now
        if fresh or received is None:
            self._body = (now, received or 0)
        elif (window := now - self._body[0]) >= limits.body_window:
            if received - self._body[1] < limits.body_rate * window:
                return Verdict.SLOW_BODY
            self._body = (now, received)
        time, late = self._allowance(phase)
        return late if now - self._since > time else Verdict.FINE

    def stalled(self, now: float, arrived: int) -> bool:
        """Whether an answer of which `arrived` bytes are here has paused for too long."""
        if arrived != self._answer[0]:
            self._answer = (arrived, now)
        return now - self._answer[1] > self._limits.read_stall

    def _allowance(self, phase: Phase) -> tuple[float, Verdict]:
        match phase:
            case Phase.FRESH:
                return self._limits.header_time, Verdict.CLOSE
            case Phase.HEAD:
                return self._limits.header_time, Verdict.SLOW_HEAD
            case Phase.IDLE:
                return self._limits.keepalive, Verdict.CLOSE
            case Phase.LINGER:
                return _LINGER, Verdict.CUT
            case Phase.BUSY:
                return math.inf, Verdict.FINE

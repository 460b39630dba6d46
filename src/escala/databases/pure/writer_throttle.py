"""How much writers wait, so that a stream of their changes can catch up with them."""

from __future__ import annotations

MOST = 50
_SHRINKS = 0.9


class WriterThrottle:
    """Milliseconds that each write transaction waits: doubled while the lag does not shrink.

    A lag that is a tenth less than the last one shrinks; then the wait stays. It is halved
    whenever the stream has caught up.
    """

    __slots__ = ("_last", "_most", "_wait")

    def __init__(self, most: int = MOST) -> None:
        self._most, self._wait, self._last = most, 0, 0.0

    def after(self, lag: float, *, caught_up: bool) -> int:
        """The wait after a look at the lag, in whatever unit."""
        if caught_up:
            self._wait //= 2
        elif lag > self._last * _SHRINKS:
            self._wait = min(self._most, self._wait * 2 or 1)
        self._last = lag
        return self._wait

"""How likely a call is refused here, because the far side would most likely refuse it there."""

from __future__ import annotations

from escala.resilience.pure.window import RollingWindow


class ThrottleMachine:
    """Refuses with probability (calls - multiple * accepted) / (calls + 1), and never below 0.

    `calls` are those of the last `window` seconds, also the ones refused here; `accepted` those
    that the far side served. So while it serves everything nothing is refused, and while it
    serves nothing about one call in `multiple * accepted` still goes there to find out.
    (B. Beyer and others, "Site Reliability Engineering", 2016, chapter 21.)
    """

    __slots__ = ("_multiple", "_window")

    def __init__(self, *, multiple: float, window: float) -> None:
        self._multiple = multiple
        self._window = RollingWindow(window)

    def refused(self, draw: float, now: float) -> bool:
        """Whether a call is refused here, which counts it; `draw` is random from 0 to 1."""
        chance = self.chance(now)
        if chance <= 0.0 or draw >= chance:
            return False
        self._window.calls += 1
        return True

    def chance(self, now: float) -> float:
        """How likely a call is refused, from 0 to 1."""
        window = self._window
        if now >= window.ends:
            window.turn(now)
        return max(0.0, (window.calls - self._multiple * window.marked) / (window.calls + 1))

    def ended(self, *, accepted: bool, now: float) -> None:
        """A call that went through was served by the far side, or refused there."""
        window = self._window
        if now >= window.ends:
            window.turn(now)
        window.calls += 1
        window.marked += accepted

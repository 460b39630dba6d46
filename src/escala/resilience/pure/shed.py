"""How much to turn away, and whom: a standing queue is what tells that there is too much."""

from __future__ import annotations

_STEP = 0.1  # of what is still let in, for each interval that is too slow
_BACK = 0.05  # of all calls, for each interval that is not
_MOST = 0.95  # someone has to get in, or no one could tell that things are well again
_LEVELS = 64  # priorities that are told apart; further ones count as the last of them


class ShedMachine:
    """Sheds a share of the calls, those with the greatest priority numbers first.

    In each `interval` it looks at how old the oldest waiting call was whenever one began. If it
    was never younger than `target`, the queue stood: it did not just take up a burst (K. Nichols
    and V. Jacobson, "Controlling Queue Delay", 2012). Then a tenth of what was let in is shed on
    top; after an interval that was well, a twentieth of all calls less.

    Whom it hits follows from what came in the interval before: those whose priority lies wholly
    in the share are refused, those wholly outside are let in, and of the priority between so many
    as are missing, by lot.
    """

    __slots__ = ("_ages", "_cuts", "_ends", "_interval", "_offered", "_target", "share")

    def __init__(self, *, target: float, interval: float) -> None:
        self._target, self._interval = target, interval
        self.share = 0.0
        self._ends = -1.0
        self._offered: dict[int, int] = {}
        self._ages: tuple[int, float] = (0, 0.0)  # calls begun, the least age of the oldest
        self._cuts: dict[int, float] = {}  # of each priority the part that is refused

    def arrived(self, priority: int, draw: float, now: float) -> bool:
        """Whether a call is let in; `draw` is random from 0 to 1."""
        if now >= self._ends:
            self._turn(now)
        offered = self._offered
        if priority not in offered and len(offered) >= _LEVELS:
            priority = max(offered)
        offered[priority] = offered.get(priority, 0) + 1
        if not self.share:
            return True
        refused = self._cuts.get(priority)
        if refused is None:  # did not come before: between its neighbours
            refused = max((cut for at, cut in self._cuts.items() if at < priority), default=0.0)
        return draw >= refused

    def began(self, oldest: float, now: float) -> None:
        """A call began; the oldest of those that still wait has waited for `oldest` seconds."""
        if now >= self._ends:
            self._turn(now)
        begun, least = self._ages
        self._ages = (begun + 1, oldest if not begun else min(least, oldest))

    def _turn(self, now: float) -> None:
        if now >= self._ends + self._interval:
            self.share = 0.0  # a whole interval without any call: all is quiet
        else:
            begun, least = self._ages
            standing = least > self._target if begun else bool(self._offered)
            if standing:
                self.share = min(_MOST, self.share + (1 - self.share) * _STEP)
            else:
                self.share = max(0.0, self.share - _BACK)
        self._cuts = _cuts(self._offered, self.share)
        self._offered, self._ages = {}, (0, 0.0)
        self._ends = now + self._interval


def _cuts(offered: dict[int, int], share: float) -> dict[int, float]:
    """Of each priority the part to refuse, so that `share` of all is refused, the last first."""
    left = share * sum(offered.values())
    cuts = {}
    for priority in sorted(offered, reverse=True):
        refused = min(left, offered[priority])
        cuts[priority] = refused / offered[priority]
        left -= refused
    return cuts

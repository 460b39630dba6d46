"""How much to turn away, and whom: a standing queue is what tells that there is too much."""

from __future__ import annotations

import math

_STEP = 0.1  # of what is still let in, for each interval that is too slow
_BACK = 0.05  # of all calls, for each interval that is not
_MOST = 0.95  # someone has to get in, or no one could tell that things are well again
_FADES = 0.9  # of the counts of an interval, in the next
_GONE = 0.1  # what has faded to less is forgotten
_LEVELS = 64  # priorities that are told apart; a further one counts as the nearest of them


class ShedMachine:
    """Sheds a share of the calls, those with the smallest priority numbers first.

    Whenever a call comes or begins it is told what stands: the greatest priority of which a call
    has waited too long. If something stood at each look of a whole `interval`, the queue did not
    just take up a burst (K. Nichols and V. Jacobson, "Controlling Queue Delay", 2012). Then a
    tenth of what was let in is shed on top, but only of priorities up to the one that stood: a
    greater one does not suffer from the queue, which is served by priority. After an interval
    that was well, a twentieth of all calls less is shed.

    Whom it hits follows from what came in the last ten intervals or so: those whose priority lies
    wholly in the share are refused, those wholly outside are let in, and of the priority between
    so many as are missing, by lot.
    """

    __slots__ = ("_cuts", "_ends", "_interval", "_offered", "_stood", "share")

    def __init__(self, *, interval: float) -> None:
        self._interval = interval
        self.share = 0.0
        self._ends = -math.inf
        self._stood = -math.inf  # the least that stood at the looks of this interval
        self._offered: dict[int, float] = {}
        self._cuts: dict[int, float] = {}  # of each priority the part that is refused

    def arrived(self, priority: int, stands: int | None, draw: float, now: float) -> bool:
        """Whether a call is let in; `draw` is random from 0 to 1."""
        self._look(stands, now)
        offered, level = self._offered, priority
        if level not in offered and len(offered) >= _LEVELS:
            level = min(offered, key=lambda at: abs(at - priority))
        offered[level] = offered.get(level, 0.0) + 1
        if not self.share:
            return True
        refused = self._cuts.get(level)
        if refused is None:  # did not come before: as the one above it
            refused = max([cut for at, cut in self._cuts.items() if at > level], default=0.0)
        return draw >= refused

    def began(self, stands: int | None, now: float) -> None:
        """A call that has waited begins."""
        self._look(stands, now)

    def _look(self, stands: int | None, now: float) -> None:
        if now >= self._ends:
            if stands is None and now >= self._ends + self._interval:
                self.share = 0.0  # a whole interval without a call, and no queue
            else:
                self._move()
            self._cuts = _cuts(self._offered, self.share)
            self._offered = {at: n * _FADES for at, n in self._offered.items() if n >= _GONE}
            self._stood = math.inf
            self._ends = now + self._interval
        self._stood = min(self._stood, -math.inf if stands is None else stands)

    def _move(self) -> None:
        more = min(_MOST, self.share + (1 - self.share) * _STEP)
        less = max(0.0, self.share - _BACK)
        concerned = sum([n for at, n in self._offered.items() if at <= self._stood])
        most = concerned / sum(self._offered.values()) if concerned else 0.0
        self.share = max(less, min(more, most))


def _cuts(offered: dict[int, float], share: float) -> dict[int, float]:
    """Of each priority the part to refuse, so that `share` of all is refused, the lowest first."""
    left = share * sum(offered.values())
    cuts = {}
    for priority in sorted(offered):
        refused = min(left, offered[priority])
        cuts[priority] = refused / offered[priority]
        left -= refused
    return cuts

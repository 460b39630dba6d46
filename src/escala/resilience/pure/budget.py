"""How many retries all callers together may make, so that an outage is not met by a storm."""

from __future__ import annotations

from escala.resilience.pure.window import RollingWindow


class BudgetMachine:
    """Grants a retry while few are under way, or while they are a small share of recent calls.

    - Fewer than `floor` retries under way at once: granted. A lone caller is never refused.
    - Else, granted if with it the retries begun in the last `window` seconds are at most
      `share` of the calls begun in them: then load is at most 1 + `share` times what callers ask.
    """

    __slots__ = ("_floor", "_share", "_window", "under_way")

    def __init__(self, *, share: float, floor: int, window: float) -> None:
        self._share, self._floor = share, floor
        self._window = RollingWindow(window)
        self.under_way = 0

    def call(self, now: float) -> None:
        """Count a call (not its retries)."""
        window = self._window
        if now >= window.ends:
            window.turn(now)
        window.calls += 1

    def take(self, now: float) -> bool:
        """Whether a retry may be made; if so, `give_back` when it has ended."""
        window = self._window
        if now >= window.ends:
            window.turn(now)
        few = self.under_way < self._floor
        if not few and (not window.calls or (window.marked + 1) / window.calls > self._share):
            return False
        window.marked += 1
        self.under_way += 1
        return True

    def give_back(self) -> None:
        """A granted retry has ended, however it did."""
        self.under_way -= 1

"""What other processes invalidate in a shared second level, done to the first one here."""

from __future__ import annotations

from escala.caching.events import CacheHearingChanged, CacheInvalidated
from escala.caching.levels import Levels
from escala.caching.tag_names import plain
from escala.caching.value_store import Signal
from escala.kernel.events import publish
from escala.kernel.runtime import colours


class Hearing:
    """The ear of one cache.

    While invalidations may be missed, no value is kept for longer than `bound` seconds. When they
    are heard again, all that was kept till then is forgotten, in one step.
    """

    def __init__(self, levels: Levels, *, bound: float) -> None:
        self._levels, self._first, self.bound = levels, levels.first, bound
        self._first.deafen(bound, now=colours.thread.now())
        self.hears = False

    def heard(self, signals: list[Signal]) -> None:
        """Do what another process did."""
        first, now, name = self._first, colours.thread.now(), self._levels.name
        for signal in signals:
            if signal.kind == "key":
                first.drop(signal.name, now=now, soft=signal.soft)
            elif signal.kind == "tag":
                first.invalidate(signal.name, now=now, soft=signal.soft)
            else:
                first.invalidate_all(now=now, soft=signal.soft)
            self._levels.tally.heard += 1
            publish(
                CacheInvalidated(
                    name=name,
                    at=now,
                    kind=signal.kind,
                    what=plain(signal),
                    soft=signal.soft,
                    remote=True,
                )
            )

    def lost(self) -> None:
        """Invalidations may be missed from here on."""
        now = colours.thread.now()
        self._first.deafen(self.bound, now=now)
        self._turn(now, hears=False)

    def regained(self) -> None:
        """They are heard again."""
        now = colours.thread.now()
        self._first.hear(now=now)
        self._turn(now, hears=True)

    def _turn(self, now: float, *, hears: bool) -> None:
        if self.hears != hears:
            self.hears = hears
            publish(CacheHearingChanged(name=self._levels.name, at=now, heard=hears))

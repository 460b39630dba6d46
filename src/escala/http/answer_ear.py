"""What other workers and gateways change, done to the answers in memory here."""

from __future__ import annotations

from escala.caching.events import CacheHearingChanged
from escala.caching.value_store import Signal
from escala.http.pure.invalidation import Effect
from escala.http.shared_answers import SharedAnswers
from escala.kernel.events import publish
from escala.kernel.runtime import colours


class AnswerEar:
    """The ear of one cache.

    While changes may be missed, no answer is given that was known for longer than `bound` seconds
    without asking the second level. When they are heard again, all in memory is forgotten.
    """

    def __init__(self, shared: SharedAnswers, *, bound: float, name: str) -> None:
        self._shared, self.bound, self._name = shared, bound, name
        self._hears = True  # until it is told otherwise, which it is before anything is stored
        self._heard = 0

    def heard(self, signals: list[Signal]) -> None:
        """Do what another did."""
        for signal in signals:
            self._heard += 1
            if signal.kind != "key":
                self._shared.clear()
                continue
            key = signal.name.encode("latin-1", "replace")  # who wrote another name is not of ours
            self._shared.affect(key, Effect.DOUBT if signal.soft else Effect.FORGET)

    def lost(self) -> None:
        """Changes may be missed from here on."""
        now = colours.thread.now()
        self._shared.deafen(self.bound, now=now)
        self._turn(now, hears=False)

    def regained(self) -> None:
        """They are heard again."""
        self._shared.hear()
        self._turn(colours.thread.now(), hears=True)

    def _turn(self, now: float, *, hears: bool) -> None:
        if self._hears != hears:
            self._hears = hears
            publish(CacheHearingChanged(name=self._name, at=now, heard=hears))

    def snapshot(self) -> dict[str, float]:
        """How many changes were heard of, and whether they are not heard at the moment."""
        return {"l2_heard": self._heard, "l2_deaf": float(not self._hears)}

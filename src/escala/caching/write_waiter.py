"""Who waits for a place, a flush, or a write that goes through."""

from __future__ import annotations

from collections.abc import Callable

from escala.kernel.runtime import Parker


class Waiter:
    """One wait, and how it ended.

    `place`: of which key a place is to be given back, if any; `saved`: what is to be done when the
    write is.
    """

    __slots__ = ("_wake", "error", "parker", "place", "saved")

    def __init__(self, parker: Parker, place: str | None = None) -> None:
        self.parker, self.place = parker, place
        self.error: BaseException | None = None
        self.saved: Callable[[], None] | None = None
        self._wake = [parker.unpark]

    def end(self, error: BaseException | None) -> bool:
        """Wake it, the first time; False if no one is left."""
        try:
            wake = self._wake.pop()  # one step, whoever else does it
        except IndexError:
            return True
        self.error = error
        return wake()

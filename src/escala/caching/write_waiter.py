"""Who waits for a place, a flush, or a write that goes through."""

from __future__ import annotations

from escala.kernel.runtime import Parker


class Waiter:
    """One wait, and how it ended. `place`: of which key a place is to be given back, if any."""

    __slots__ = ("error", "parker", "place")

    def __init__(self, parker: Parker, place: str | None = None) -> None:
        self.parker, self.place = parker, place
        self.error: BaseException | None = None

    def end(self, error: BaseException | None) -> bool:
        """Wake it; False if no one is left."""
        self.error = error
        return self.parker.unpark()

"""What a store keeps for one key, and who may change it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from escala.caching.pure.blob import Header
from escala.caching.pure.versions import Standing

# A blob that was born later than this after now is of another clock, which tells us nothing.
_ANOTHER_CLOCK = 1.0


class Life(Protocol):
    """The store's memory of invalidations since it began, or began anew."""

    @property
    def epoch(self) -> bytes:
        """Random bytes, new when it began anew."""
        ...

    @property
    def clock(self) -> int:
        """How many invalidations there have been."""
        ...

    def standing(self, clock: int, tags: tuple[str, ...]) -> Standing:
        """What happened since that moment to a value with these tags."""
        ...

    def held_off(self, born: float, tags: tuple[str, ...]) -> bool:
        """Whether a load that began then may have read what a lagging replica still had."""
        ...


class Look(NamedTuple):
    """Whether a blob may be served at all, only as stale, and whether it is time for another."""

    there: bool
    expired: bool
    due: bool


NOTHING = Look(there=False, expired=False, due=True)


def standing(header: Header, life: Life) -> Standing:
    """What invalidations have done to a value that was loaded under this header's mark."""
    epoch, clock, _ = header.mark
    if epoch != life.epoch or clock > life.clock:
        return Standing.GONE
    return life.standing(clock, header.tags)


class Slot:
    """A blob, the lease of who loads the next one, and the end of a hold-off.

    Times are seconds on the store's clock. `header` is the blob's, `None` if there is no whole
    blob. `expired`: hit by an `expire` of the key itself. `ends`: when the blob may go.
    """

    __slots__ = ("blob", "ends", "expired", "header", "held", "token", "until")

    def __init__(self) -> None:
        self.blob, self.ends, self.expired = b"", 0.0, False
        self.header: Header | None = None
        self.token: bytes | None = None  # and then `until` is 0
        self.until = self.held = 0.0

    def look(self, now: float, life: Life) -> Look:
        """What may be done with the blob."""
        header = self.header
        if header is None or now >= self.ends:
            return NOTHING
        born, fresh = header.mark.now, header.fresh
        if born > now + _ANOTHER_CLOCK or now >= born + fresh + header.stale:
            return NOTHING
        found = standing(header, life)
        if found is Standing.GONE:
            return NOTHING
        expired = self.expired or found is Standing.EXPIRED
        return Look(there=True, expired=expired, due=expired or now >= born + fresh)

    def lend(self, token: bytes, lease: float, now: float) -> bool:
        """Take the lease, if it is free or the same caller asks again."""
        if now < self.held or (self.token != token and now < self.until):
            return False
        self.token, self.until = token, now + lease
        return True

    def wait(self, now: float) -> float:
        """Seconds until the lease is free."""
        return max(0.0, self.until - now)

    def claim(self, token: bytes, lease: float, now: float) -> None:
        """Delete, and take the lease from whoever has it."""
        self._clear()
        self.token, self.until = token, now + lease

    def store(
        self, token: bytes, now: float, life: Life, *, blob: bytes, header: Header, keep: float
    ) -> bool:
        """Keep a blob, if this token is the lease; which ends."""
        if token != self.token:
            return False
        leased = now < self.until
        self.release(token)
        if not leased or now < self.held or standing(header, life) is Standing.GONE:
            return False
        if life.held_off(header.mark.now, header.tags):
            return False
        self.blob, self.header, self.expired, self.ends = blob, header, False, now + keep
        return True

    def release(self, token: bytes) -> None:
        """End this lease, if it is the lease."""
        if token == self.token:
            self.token, self.until = None, 0.0

    def invalidate(self, now: float, hold: float, *, soft: bool) -> None:
        """Delete or expire; who loads now may no longer store."""
        self.token, self.until = None, 0.0
        self.held = max(self.held, now + hold)
        if soft:
            self.expired = True
        else:
            self._clear()

    @property
    def over(self) -> float:
        """When nothing of it matters any more."""
        return max(self.until, self.held, self.ends)

    def _clear(self) -> None:
        self.blob, self.header, self.expired, self.ends = b"", None, False, 0.0

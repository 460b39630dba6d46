"""UUIDs of version 7 that grow within a process, whatever its clock does."""

from __future__ import annotations

_VERSION, _VARIANT = 7 << 76, 2 << 62
COUNTER_BITS, TAIL_BITS = 42, 32
FRESH_BITS = COUNTER_BITS - 1  # the highest bit is kept free, so that there is room to count
_OVER = 1 << COUNTER_BITS
_LOW_BITS = 30  # of the counter, that come after the variant
_LOW = (1 << _LOW_BITS) - 1
_LAST_MOMENT = (1 << 48) - 1


class Uuid7Sequence:
    """RFC 9562, 6.2, method 1: after the milliseconds a counter, and after it random bits.

    The counter begins anew, at random, with each millisecond. When the clock has not gone on, or
    has gone back, the last millisecond goes on to be counted; when the counter is at its end the
    next millisecond begins early. So nobody waits, and nothing fails.
    """

    __slots__ = ("_counter", "_last")

    def __init__(self) -> None:
        self._last = self._counter = -1

    def take(self, now: int, fresh: int, tail: int) -> int:
        """The next one; `now` is Unix time in milliseconds, `fresh` and `tail` are random."""
        if now > self._last:
            self._last, self._counter = now, fresh
        else:
            self._counter += 1
            if self._counter == _OVER:
                self._last, self._counter = self._last + 1, fresh
        counter = self._counter
        return (
            (self._last & _LAST_MOMENT) << 80
            | _VERSION
            | counter >> _LOW_BITS << 64
            | _VARIANT
            | (counter & _LOW) << TAIL_BITS
            | tail
        )

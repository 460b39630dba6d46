"""UUIDs that grow with time, so that an index on them grows at its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from uuid import UUID

from escala.databases.pure.uuid7_sequence import FRESH_BITS, TAIL_BITS, Uuid7Sequence
from escala.kernel.at_fork import begin_anew, free
from escala.kernel.runtime import wall

_RANDOM_BYTES = 10
_TAIL, _FRESH = (1 << TAIL_BITS) - 1, (1 << FRESH_BITS) - 1


class Uuid7Source:
    """Gives them to all threads of a process in ascending order."""

    def __init__(
        self, clock: Callable[[], float] = wall, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock, self._random = clock, random
        self._sequence, self._lock = Uuid7Sequence(), threading.RLock()
        begin_anew(self, Uuid7Source._forked)

    def next(self) -> UUID:
        """The next one."""
        random = int.from_bytes(self._random(_RANDOM_BYTES))
        with self._lock:
            now = int(self._clock() * 1000)
            made = self._sequence.take(now, random >> TAIL_BITS & _FRESH, random & _TAIL)
        return UUID(int=made)

    def _forked(self) -> None:
        free(self._lock)
        self._sequence = Uuid7Sequence()


_SOURCE = Uuid7Source()


def uuid7() -> UUID:
    """Reach for it when ids are made by processes that no one numbers.

    >>> first, second = uuid7(), uuid7()
    >>> first < second, first.version
    (True, 7)

    RFC 9562, version 7: 48 bits of Unix time in milliseconds, then a counter of 42 bits, then 32
    random bits. The counter (6.2, method 1) begins at a random number in each millisecond and goes
    up by one, so the ids of one process are in the order in which they were made, also when the
    wall clock is set back. Of two processes nobody has the same id by the 73 random bits of each
    millisecond's first, the 32 of each and no promise more. Never blocks and never fails.
    """
    return _SOURCE.next()

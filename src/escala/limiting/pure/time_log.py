"""The times of the last so many calls, oldest first, in one block of memory that does not grow."""

from __future__ import annotations

from array import array


class TimeLog:
    """Times numbered in the order they came; of the last `most` each can be asked for.

    It grows up to `most` places of eight bytes; from then on a new time takes the place of the
    oldest.
    """

    __slots__ = ("_most", "_times", "next")

    def __init__(self, most: int) -> None:
        self._most = most
        self._times = array("d")
        self.next = 0  # the number that the next time gets

    def __getitem__(self, number: int) -> float:
        return self._times[number % len(self._times)]

    def append(self, time: float, times: int) -> None:
        """Put in one time as often as said."""
        for _ in range(times):
            if len(self._times) < self._most and self.next == len(self._times):
                self._times.append(time)
            else:
                self._times[self.next % len(self._times)] = time
            self.next += 1

    def clear(self) -> None:
        """Forget all of them and give the memory back."""
        self._times = array("d")
        self.next = 0

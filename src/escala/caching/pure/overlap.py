"""Writes of one key at the same time: no one can say which of them the source took last."""

from __future__ import annotations


class Overlap:
    """Which keys are being written, and whether by several at once. Not locked.

    >>> overlap = Overlap()
    >>> first, second = overlap.begin("a"), overlap.begin("a")
    >>> overlap.end("a", first), overlap.end("a", second), overlap.end("a", overlap.begin("a"))
    (False, False, True)
    """

    __slots__ = ("_writes",)

    def __init__(self) -> None:
        self._writes: dict[str, list[bool]] = {}

    def begin(self, key: str) -> list[bool]:
        """A write begins; what `end` is to be given."""
        crowd = self._writes.get(key)
        if crowd is None:
            crowd = self._writes[key] = []
        crowd.append(True)
        return crowd

    def end(self, key: str, crowd: list[bool]) -> bool:
        """It has ended; whether it was alone all the time, so that its value is the source's."""
        alone = len(crowd) == 1
        crowd[crowd.index(True)] = False
        if True not in crowd:
            del self._writes[key]
        return alone

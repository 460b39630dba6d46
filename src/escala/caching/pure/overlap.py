"""Writes of a key that are under way: whether anything else has changed the key meanwhile."""

from __future__ import annotations


class Crowd:
    """The writes of one key since it was last changed; they share the answer."""

    __slots__ = ("changed", "running")

    def __init__(self) -> None:
        self.running, self.changed = 0, False


class Overlap:
    """Which keys are being written. Not locked.

    Of two writes at once no one can say which the source took last. The first to end changes
    the key, and so the other learns that it cannot know.

    >>> overlap = Overlap()
    >>> first, second = overlap.begin("a"), overlap.begin("a")
    >>> alone = overlap.end("a", first)
    >>> overlap.changed("a")
    >>> alone, overlap.end("a", second), overlap.end("a", overlap.begin("a"))
    (True, False, True)
    """

    __slots__ = ("_writes",)

    def __init__(self) -> None:
        self._writes: dict[str, Crowd] = {}

    def __len__(self) -> int:
        """How many keys are being written."""
        return len(self._writes)

    def begin(self, key: str) -> Crowd:
        """A write begins; what `end` is to be given."""
        crowd = self._writes.get(key)
        if crowd is None:
            crowd = self._writes[key] = Crowd()
        crowd.running += 1
        return crowd

    def changed(self, key: str) -> None:
        """The key was written or deleted: writes that are under way may be older than that."""
        crowd = self._writes.pop(key, None)
        if crowd is not None:
            crowd.changed = True

    def end(self, key: str, crowd: Crowd) -> bool:
        """A write has ended; whether nothing has changed the key since it began."""
        crowd.running -= 1
        if not crowd.running and self._writes.get(key) is crowd:
            del self._writes[key]
        return not crowd.changed

"""Whether another process lives, as its kernel knows it: no process id, no clock, no waiting."""

from __future__ import annotations

import contextlib
import os

try:
    import fcntl
except ImportError:  # Windows: no one can be told dead, so a heartbeat has to
    fcntl = None  # type: ignore[assignment]


class LifeLock:
    """Bytes of a file, each of which one process can hold; those of the dead are free at once.

    These locks are a process's own: a child that it forks has none of them, and cannot keep one
    alive. That they are a whole process's also means that it can open the file only once.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def is_free(self, number: int) -> bool:
        """Whether no living process holds this byte; False also where no one can know."""
        if not self.hold(number):
            return False
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)
        return True

    def hold(self, number: int) -> bool:
        """Hold a byte until this process ends or `close`; False if another does."""
        if fcntl is None:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of all of them."""
        with contextlib.suppress(OSError):
            os.close(self._file)

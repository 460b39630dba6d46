"""Room on a disk that is kept for the moment in which the disk is full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Ballast:
    """A file that holds nothing, given up so that what makes room has room itself."""

    def __init__(self, path: str, size: int) -> None:
        self._path, self._size = path, size
        self._kept = False

    def keep(self) -> bool:
        """Keep the room; False if the disk has not that much."""
        if self._kept:
            return True
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                _allocate(file, self._size)
            finally:
                os.close(file)
        except OSError:
            self.drop()
            return False
        self._kept = True
        return True

    def drop(self) -> None:
        """Give it up."""
        self._kept = False
        with contextlib.suppress(OSError):
            Path(self._path).unlink()


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.write(file, bytes(size))

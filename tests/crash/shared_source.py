"""A source that processes share, as a file in memory: versions of keys, and when each was deleted.

The monotonic clock is that of the machine, so all processes speak of the same moments.
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path

KEYS = 20
MOST = 20_000  # versions of one key


class SharedSource:
    """A key's version, and when caches had acknowledged that those before it are gone."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8 * KEYS * (1 + MOST)))
        with path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

    def version(self, key: int) -> int:
        return int(self._cells[key])

    def write(self, key: int) -> int:
        """A new version; each key has one writer."""
        version = self.version(key) + 1
        assert version < MOST, "it was written too often"
        self._cells[key] = version
        return version

    def acknowledged(self, key: int, version: int) -> None:
        """No one should be given an older one from here on."""
        self._cells[KEYS + key * MOST + version] = time.monotonic()

    def age(self, key: int, version: int, at: float) -> float:
        """For how long this version had been deleted when it was asked for; 0.0 if it was not."""
        for later in range(version + 1, self.version(key) + 1):
            moment = self._cells[KEYS + key * MOST + later]
            if 0 < moment <= at:
                return at - moment
        return 0.0

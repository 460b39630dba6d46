"""What a journal does, without the disk: numbers in order, and nothing outlives the process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from escala.kernel.runtime import Runtime
from escala.stores.journal import Ended, Replay
from escala.stores.journal_file import Rows


class MemoryJournal:
    """Counts on from `first`; to count on from the last run's numbers, give it a date."""

    def __init__(self, first: int = 1) -> None:
        self._next = first
        self._lock = threading.RLock()

    def open(self, replay: Replay, opened: Callable[[BaseException | None], None]) -> None:  # noqa: ARG002
        """There is nothing to open, and nothing to replay."""
        opened(None)

    async def append(
        self,
        body: bytes | None,  # noqa: ARG002
        runtime: Runtime,  # noqa: ARG002
        ended: Ended = lambda *_: None,
    ) -> int:
        """The record's number."""
        with self._lock:  # also around `ended`, which is to be told in the order of the numbers
            number = self._next
            self._next += 1
            ended(number, None)
        return number

    async def commit(self, rows: Rows, runtime: Runtime) -> None:
        """Nothing is kept."""

    async def confirm(self, runtime: Runtime) -> None:
        """No one else has it."""

    def change(self, rows: Rows) -> None:
        """Nothing is kept."""

    def owe(self, rows: Rows) -> None:
        """Nothing is kept."""

    async def close(self, runtime: Runtime) -> None:
        """Nothing is open."""

"""A few daemon threads for calls that someone waits for elsewhere; none queues for one."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

from escala.kernel.at_fork import begin_anew, free

_IDLE = 60.0  # seconds after which a thread without work ends


class SpareThreads:
    """Runs functions in up to `most` threads, made when they are needed and reused.

    A thread ends when it has had nothing to do for a minute. None of them keeps the program from
    ending.
    """

    def __init__(self, most: int, *, name: str) -> None:
        self.most, self._name = most, name
        self._lock = threading.RLock()
        self._begin()
        begin_anew(self, SpareThreads._forked)

    def _forked(self) -> None:
        free(self._lock)
        self._begin()

    def _begin(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.alive = self._idle = 0

    def hand_over(self, run: Callable[[], None]) -> bool:
        """Have a free thread run this; False, and nothing is run, if there is none."""
        with self._lock:
            idle = self._idle > 0
            if idle:
                self._idle -= 1
            elif self.alive < self.most:
                self.alive += 1
            else:
                return False
        if not idle and not self._started():
            return False
        self._work.put(run)
        return True

    def _started(self) -> bool:
        try:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        except RuntimeError:  # the system has no more
            with self._lock:
                self.alive -= 1
            return False
        return True

    def _serve(self) -> None:
        while True:
            try:
                run = self._work.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        self.alive -= 1
                        return
                continue  # work is on its way
            try:
                run()
            except BaseException:  # noqa: BLE001  the thread serves on; the bug is still shown
                sys.excepthook(*sys.exc_info())
            del run  # what it holds may be large
            with self._lock:
                self._idle += 1

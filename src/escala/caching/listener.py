"""A thread that hears what other writers invalidate, for as long as the cache is open."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Protocol
from weakref import WeakSet

from escala.caching.value_store import Ear, Signal
from escala.resilience.pure.backoff import Backoff

_BACKOFF = Backoff(attempts=sys.maxsize, base=0.05, cap=2.0, jitter="equal")


class Wire(Protocol):
    """One connection to where signals come from, used by the listening thread."""

    transport: str

    def open(self) -> None:
        """Connect; once it returns, nothing is missed that `hear` does not tell. `OSError`."""
        ...

    def hear(self) -> tuple[list[Signal], bool]:
        """What came within a short while, and whether something was missed or all may have changed.

        Raises `OSError` when the connection is over, or when nothing proves any more that it is
        not.
        """
        ...

    def hang_up(self) -> None:
        """From any thread: have `hear` end at once."""
        ...

    def close(self) -> None:
        """Let go of it, from the thread that used it; in a forked child only of the copy."""
        ...


class Listener:
    """Keeps one `Wire` open, and tells the ear what comes and whether something may be missed.

    `wire` makes one that is known to be over within so many seconds of when it last heard.

    A daemon thread of its own, so it serves both colours and waits in real time. `lost` is told
    at the start, too, until the first `regained`. It connects again after 50 ms, and up to 2 s
    when that fails again and again, drawn from the upper half. What the ear raises is shown and
    goes no further. A forked child has lost it, and begins its own with the next `go_on`.
    """

    def __init__(self, wire: Callable[[float], Wire], name: str) -> None:
        self._wire, self._name = wire, name
        self._ear: Ear | None = None
        self._ended = False
        self._begin()
        _listeners.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._quit = threading.Event()
        self._now: Wire | None = None
        self._missing: Ear | None = None  # who should be told, and no thread does

    @property
    def transport(self) -> str:
        """How it hears, "" while it does not."""
        wire = self._now
        return "" if wire is None else wire.transport

    def listen(self, ear: Ear) -> None:
        """Start; once."""
        with self._lock:
            if self._ear is not None:
                raise RuntimeError("a store tells one ear: make another store for another cache")
            self._ear = ear
        self._tell(ear.lost)
        self._start(ear)

    def go_on(self) -> None:
        """Start again in a forked child; otherwise nothing."""
        if self._missing is not None:
            with self._lock:
                ear, self._missing = self._missing, None
            if ear is not None:
                self._start(ear)

    def close(self) -> None:
        """End the thread, soon; may be called twice."""
        with self._lock:
            self._ended = True
            self._quit.set()
            if self._now is not None:
                self._now.hang_up()

    def forked(self) -> None:
        """A forked child has no such thread, and leaves its parent's connection alone."""
        wire, ear = self._now, self._ear
        self._begin()
        if wire is not None:
            wire.close()
        if ear is not None and not self._ended:
            self._missing = ear
            self._tell(ear.lost)

    def _start(self, ear: Ear) -> None:
        name = f"{self._name}-ear"
        threading.Thread(target=self._serve, args=(ear,), name=name, daemon=True).start()

    def _serve(self, ear: Ear) -> None:
        attempt, draw = 0, random.Random()
        while not self._ended:
            attempt += 1
            if self._hear(ear):
                attempt = 1
            self._quit.wait(_BACKOFF.wait(attempt, draw=draw.random()))

    def _hear(self, ear: Ear) -> bool:
        """Listen until the connection is over; whether it ever was a connection."""
        wire, heard = None, False
        try:
            wire = self._wire(ear.bound)
            wire.open()
            with self._lock:
                self._now = wire
            heard = True
            self._tell(ear.regained)
            while not self._ended:
                signals, missed = wire.hear()
                if signals:
                    self._tell(partial(ear.heard, signals))
                if missed:
                    self._tell(ear.regained)
        except OSError:
            pass
        except Exception:  # noqa: BLE001  the thread goes on; the bug is still shown
            sys.excepthook(*sys.exc_info())
        with self._lock:
            self._now = None
        if wire is not None:
            wire.close()
        if heard:
            self._tell(ear.lost)
        return heard

    def _tell(self, what: Callable[[], None]) -> None:
        if self._ended:
            return
        try:
            what()
        except Exception:  # noqa: BLE001  the ear's bug is shown, and the next signal is told
            sys.excepthook(*sys.exc_info())


_listeners: WeakSet[Listener] = WeakSet()


def _forked() -> None:
    for listener in list(_listeners):
        listener.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

"""What happened, told to whoever listens: metrics, logs, tests, the demo's time line.

Machines decide, shells publish; nothing in the logic logs. Publishing costs one check when no
one listens. A listener runs in the caller's thread or task, after every lock is released: it
must be quick, and an exception of its own never reaches the call that it was told about.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

E = TypeVar("E", bound="Event")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events: which policy, by name, and when (monotonic seconds)."""

    name: str
    at: float


_lock = threading.Lock()
listeners: tuple[tuple[type[Event], Callable[[Any], None]], ...] = ()


def subscribe(kind: type[E], listener: Callable[[E], None]) -> Callable[[], None]:
    """Call `listener` with every event of `kind` (`Event` for all); returns the way to stop."""
    global listeners  # noqa: PLW0603  replaced as a whole, so `publish` reads it without a lock
    entry = (kind, listener)
    with _lock:
        listeners = (*listeners, entry)

    def unsubscribe() -> None:
        global listeners  # noqa: PLW0603
        with _lock:
            listeners = tuple(other for other in listeners if other is not entry)

    return unsubscribe


def publish(event: Event) -> None:
    """Hand `event` to every listener of its type."""
    for kind, listener in listeners:
        if isinstance(event, kind):
            try:
                listener(event)
            except Exception:  # noqa: BLE001  the call goes on; the listener's bug is still shown
                sys.excepthook(*sys.exc_info())

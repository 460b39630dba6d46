"""Let a forked child have locks that are free, and what they guard whole."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What threads share under a `lock`, and what a child that has only one of them starts with."""

    lock: threading.RLock

    def forked(self) -> None:
        """In the child: a lock of its own, and nothing that another thread was about to do."""
        ...


_all: WeakSet[Forked] = WeakSet()
_held: list[Forked] = []
_forking = threading.RLock()


def keep_whole(owner: Forked) -> None:
    """From here on, who forks waits until no other thread is in the middle of a step."""
    _all.add(owner)


def _before() -> None:
    _forking.acquire()
    for owner in list(_all):
        owner.lock.acquire()
        _held.append(owner)


def _in_parent() -> None:
    while _held:
        _held.pop().lock.release()
    _forking.release()


def _in_child() -> None:
    global _forking  # noqa: PLW0603  the parent's threads may wait for the old one
    for owner in _held:
        owner.forked()
    _held.clear()
    _forking = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

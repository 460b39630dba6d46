"""Let what threads share begin anew in a forked child, which has only one of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

O = TypeVar("O")  # noqa: E741  an owner

_PATIENCE = 0.5

_owners: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()
_kept_out: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
_mine = threading.local()


def begin_anew(owner: O, begin: Callable[[O], None]) -> None:
    """Call `begin(owner)` in each forked child, before anything else runs there.

    At the moment of a fork other threads may hold the owner's lock, be in the middle of a step,
    or have a slot or a place in a queue. In the child they do not exist: no one would ever give
    back what they have. So the child frees the lock (see `free`) and forgets all of it.
    """
    _owners[owner] = begin


def free(lock: threading.RLock) -> None:
    """In a forked child: whoever held this lock is gone."""
    lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001  as `logging` does with its own


def hold(owner: object, lock: threading.RLock) -> None:
    """Fork while no other thread has this lock: what it guards is not ours to begin anew."""
    _kept_out[owner] = lock


def _before() -> None:
    # Bounded, since whoever has one of them may be waiting for another.
    _mine.locks = [lock for lock in list(_kept_out.values()) if lock.acquire(timeout=_PATIENCE)]


def _in_parent() -> None:
    for lock in _mine.locks:
        lock.release()


def _in_child() -> None:
    for owner, begin in list(_owners.items()):
        begin(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

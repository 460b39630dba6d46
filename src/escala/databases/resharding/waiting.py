"""How the coordinator waits: by looking again, a moment at a time, until a point in time."""

from __future__ import annotations

from collections.abc import Callable

from escala.errors import CannotReshard
from escala.kernel.runtime import colours, drive

_FIRST, _LONGEST = 0.0005, 0.05


class TooLate(CannotReshard):
    """Something did not happen in the time that it was given."""


def now() -> float:
    """Monotonic seconds."""
    return colours.thread.now()


def pause(seconds: float) -> None:
    """Let seconds pass."""
    drive(colours.thread.sleep(seconds))


def wait_until(happened: Callable[[], object], until: float, what: str) -> None:
    """Look again and again, ever less often; raises `TooLate` with `what` was waited for."""
    wait = _FIRST
    while not happened():
        if now() >= until:
            raise TooLate(f"waited in vain for {what}")
        pause(wait)
        wait = min(_LONGEST, wait * 1.5)

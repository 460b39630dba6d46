"""A machine whose two clocks are moved by hand: monotonic time, and a wall clock that steps."""

from __future__ import annotations

import time

import pytest

from escala.kernel.runtime import ThreadRuntime, colours


class Clocks:
    """Both stand still until told otherwise; packages read them through `time` or the runtime."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.monotonic = time.time(), time.monotonic()
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(colours, "thread", ThreadRuntime(now=lambda: self.monotonic))

    def go_on(self, seconds: float) -> None:
        """Let time pass, as both clocks see it."""
        self.wall += seconds
        self.monotonic += seconds

    def step(self, seconds: float) -> None:
        """Correct the wall clock, as NTP, an operator or a resumed machine does."""
        self.wall += seconds

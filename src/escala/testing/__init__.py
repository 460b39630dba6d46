"""For your tests: virtual time, and a task that is cancelled wherever it waits."""

from __future__ import annotations

from escala.testing.cancelling import Trial, cancel_everywhere
from escala.testing.virtual import VirtualRuntime

__all__ = ["Trial", "VirtualRuntime", "cancel_everywhere"]

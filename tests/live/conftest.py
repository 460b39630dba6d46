"""Live tests interrupt their children: no one who starts us may have switched that off."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A child inherits an ignored SIGINT (a shell's background job), but never a handler."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

"""Tell whoever waits how far a long run is, without mixing into the table on standard output."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write one line to standard error at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

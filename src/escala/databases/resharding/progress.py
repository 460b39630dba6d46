"""What a coordinator tells while it is at work."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """What is being done now, for which pair of shards, in which state."""

    pair: str
    state: str
    text: str

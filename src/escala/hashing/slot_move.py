"""One step of a plan."""

from __future__ import annotations

import msgspec


class SlotMove(msgspec.Struct, frozen=True):
    """A slot whose keys go from one node to another."""

    slot: int
    source: str
    target: str

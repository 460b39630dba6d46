"""Asks a server whether it accepts connections: for what speaks no HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escala.balancing.target import Target


async def tcp_probe(target: Target) -> bool:
    """Whether a TCP connection can be made; it is closed at once.

    That the system accepts connections does not say that the program behind them still answers,
    so ask for more wherever the server can say more.
    """
    try:
        _, writer = await asyncio.open_connection(target.url.host, target.url.port)
    except (OSError, ValueError):  # ValueError: an impossible host name
        return False
    writer.transport.abort()
    return True

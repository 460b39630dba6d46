"""Find ports for the shop and the gateway, so that two demos can run at once."""

from __future__ import annotations

import random
import socket

from escala.errors import Unavailable

LOWEST, HIGHEST = 20_000, 32_000

_given: set[int] = set()  # those that were given are free until someone listens there


def free_port() -> int:
    """A port that no one listens on, below the range the system takes client ports from.

    A killed instance's port must stay free until it is back: a client's own port could take it,
    and a client could even be connected to itself.
    """
    draw = random.SystemRandom()
    for _ in range(200):
        port = draw.randint(LOWEST, HIGHEST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    msg = f"no free port between {LOWEST} and {HIGHEST} on 127.0.0.1"
    raise Unavailable(msg)

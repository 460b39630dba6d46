"""How much one client may ask of the engine before it is turned away."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes, times in seconds.

    `header_time` is for a whole header section. A body must bring `body_rate` bytes a second in
    every `body_window`, unless it is we who do not read: a client that sends a byte a second is
    refused. An answer may pause for `read_stall` at its target, and `write_stall` at its client.
    `replay` is how much of a request body is remembered, so that it can be sent to a
    second target.
    """

    request_line: int = 16 * 1024
    header_size: int = 64 * 1024
    header_count: int = 100
    body_size: int = 1024**3
    header_time: float = 10.0
    body_window: float = 10.0
    body_rate: float = 240.0
    keepalive: float = 75.0
    write_stall: float = 30.0
    read_stall: float = 60.0
    replay: int = 64 * 1024
    connections: int = 10_000
    pipeline: int = 128

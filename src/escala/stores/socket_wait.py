"""Wait for a driver's socket, as a thread or as a task, and never for longer than told."""

from __future__ import annotations

import asyncio
import math
import select

from escala.errors import WouldBlock
from escala.kernel.runtime import LoopRuntime, Runtime


def refuse_in_loop(runtime: Runtime) -> None:
    """Raise `WouldBlock` for a sync caller inside a running event loop."""
    if not isinstance(runtime, LoopRuntime) and asyncio._get_running_loop() is not None:  # noqa: SLF001  the public twin raises, at 10x the cost
        msg = (
            "a sync call would have to wait for a store inside a running event loop, which would "
            "stop every other task: await the `a` twin instead (`acall`, `aacquire`)"
        )
        raise WouldBlock(msg)


def readable(fd: int) -> bool:
    """Whether something can be read at once: data, or that the other side is gone."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


async def ready(fd: int, runtime: Runtime, left: float, *, to_write: bool) -> bool:
    """Whether the socket can be read (or written) within `left` seconds."""
    if left <= 0:
        return False
    if not isinstance(runtime, LoopRuntime):
        poll = select.poll()
        poll.register(fd, select.POLLOUT if to_write else select.POLLIN)
        return bool(poll.poll(math.ceil(left * 1000)))
    loop, parker = asyncio.get_running_loop(), runtime.parker()
    watch, unwatch = (
        (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    )
    watch(fd, parker.unpark)
    try:
        return await parker.park(left)
    finally:
        unwatch(fd)

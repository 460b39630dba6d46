"""A body that is still arriving: never held as a whole, never faster than its reader.

The connection that receives it feeds it and is paused when the reader falls behind, so the
backpressure of a slow client reaches the sender on the other side through both sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024


class Source(Protocol):
    """The receiving end of a connection, as far as a body needs it."""

    def pause(self) -> None:
        """Stop reading from the socket."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def abandon(self) -> None:
        """No one wants the rest: close the connection."""
        ...


class Stream:
    """Chunks in, chunks out, one reader. `read` gives b"" at the end and raises what broke it.

    With `remember` bytes of memory, a reader can `rewind` to the start as long as no more than
    that has arrived: this is what makes a request with a body repeatable.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_kept",
        "_paused",
        "_remember",
        "_size",
        "_source",
        "_waiter",
        "ended",
        "on_end",
        "on_first_read",
        "on_rewind",
        "received",
    )

    def __init__(self, source: Source, *, remember: int = 0) -> None:
        self._source = source
        self._chunks: list[bytes] = []
        self._size = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._remember = remember
        self._kept: list[bytes] | None = [] if remember else None
        self.received = 0
        self.ended = False
        self.on_end: Callable[[bool], None] | None = None  # True: complete, False: broken
        self.on_first_read: Callable[[], None] | None = None
        self.on_rewind: Callable[[], None] | None = None  # the reader so far has to stop

    # The connection's side

    def feed(self, chunk: bytes) -> None:
        """Take what has arrived."""
        self._chunks.append(chunk)
        size = len(chunk)
        self._size += size
        self.received += size
        if self._kept is not None:
            if self.received <= self._remember:
                self._kept.append(chunk)
            else:
                self._kept = None
        if self._size >= HIGH_WATER and not self._paused:
            self._paused = True
            self._source.pause()
        self._wake()

    def finish(self) -> None:
        """All of it is here."""
        if not self.ended:
            self.ended = True
            if self._paused:  # its connection goes on to other things
                self._paused = False
                self._source.resume()
            self._wake()
            self._settle(complete=True)

    def fail(self, error: Exception) -> None:
        """It will never be complete; the reader gets `error` after what did arrive."""
        if not self.ended:
            self.ended = True
            self._paused = False
            self._error = error
            self._wake()
            self._settle(complete=False)

    # The reader's side

    async def read(self) -> bytes:
        """Everything that has arrived since the last read; waits if that is nothing."""
        if self.on_first_read is not None:
            self.on_first_read()
            self.on_first_read = None
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            await self._arrival()
        return self.take()

    async def gather(self) -> None:
        """Wait, without reading, until all of it is here or more than will be remembered."""
        enough = min(self._remember, HIGH_WATER - 1)
        while not self.ended and self.received <= enough:
            await self._arrival()
        if self._error is not None:
            raise self._error

    async def _arrival(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            msg = "two readers of one body would each get half of it"
            raise RuntimeError(msg)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        try:
            await waiter
        finally:
            if self._waiter is waiter:  # a reader that was cancelled may end after the next began
                self._waiter = None

    def take(self) -> bytes:
        """Everything that is here now, without waiting."""
        chunks, self._chunks = self._chunks, []
        self._size = 0
        if self._paused:
            self._paused = False
            self._source.resume()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks, as they arrive."""
        while chunk := await self.read():
            yield chunk

    @property
    def paused(self) -> bool:
        """Whether it is the reader that everyone waits for."""
        return self._paused

    @property
    def broken(self) -> bool:
        """Whether it ended by an error, and not because its reader went away."""
        return self._error is not None

    @property
    def replayable(self) -> bool:
        """Whether `rewind` can still give all of it again."""
        return self._kept is not None

    def rewind(self) -> None:
        """Start again from the first byte; only while `replayable`."""
        if self._kept is None:
            msg = "the start of this body is no longer in memory"
            raise RuntimeError(msg)
        if self.on_rewind is not None:
            stop, self.on_rewind = self.on_rewind, None
            stop()
        self._chunks = list(self._kept)
        self._size = self.received

    def discard(self) -> None:
        """The reader goes away; an unfinished body takes its connection along."""
        self._chunks.clear()
        self._kept = None
        if not self.ended:
            self.ended = True
            self._paused = False
            self._source.abandon()
            self._settle(complete=False)

    async def aclose(self) -> None:
        """`discard`, for `contextlib.aclosing`."""
        self.discard()

    def _settle(self, *, complete: bool) -> None:
        if self.on_end is not None:
            on_end, self.on_end = self.on_end, None
            on_end(complete)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

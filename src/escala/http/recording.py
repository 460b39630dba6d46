"""A body that is copied while it passes: its reader waits for nothing, its keeper gets it all."""

from __future__ import annotations

from typing import Protocol

from escala.http.stream import Source, Stream


class Keeper(Protocol):
    """Who wants the copy; one of the last three is called once, in the event loop's thread."""

    def reserve(self, held: int, more: int) -> bool:
        """Say whether `more` bytes may be held, beside the `held` ones."""
        ...

    def release(self, size: int) -> None:
        """The copy is no longer held here."""
        ...

    def complete(self, body: bytes) -> None:
        """The whole body."""
        ...

    def outgrown(self) -> None:
        """It is more than may be held; the reader goes on without us."""
        ...

    def broken(self) -> None:
        """It broke off, or its reader went away."""
        ...


class _NoSource:
    """A recording is fed by reading another stream, so there is nothing to pause."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def abandon(self) -> None: ...


_NO_SOURCE: Source = _NoSource()


class Recording(Stream):
    """A stream in front of another: the same chunks, and a copy of them for `keeper`.

    The copy is complete when the last byte has arrived, even if the reader is slower: what waits
    in the inner stream by then is taken over. So a slow client delays those who wait for the
    copy only while the body is larger than what a stream holds back.
    """

    __slots__ = ("_held", "_inner", "_keeper", "_parts", "_tell_next")

    def __init__(self, inner: Stream, keeper: Keeper) -> None:
        super().__init__(_NO_SOURCE)
        self._inner, self._keeper = inner, keeper
        self._parts: list[bytes] | None = []
        self._held = 0
        self._tell_next = inner.on_end
        inner.on_end = self._arrived

    async def read(self) -> bytes:
        """What the inner stream has; see `Stream.read`."""
        if not self.ended:
            chunk = await self._inner.read()
            if chunk:
                self._record(chunk)
                return chunk
        return super().take() or await self._inner.read()  # the end, or what broke it

    def take(self) -> bytes:
        """Everything that is here now, without waiting."""
        if not self.ended:
            chunk = self._inner.take()
            self._record(chunk)
            return chunk
        return super().take() or self._inner.take()

    def discard(self) -> None:
        """The reader goes away; the copy is complete only if everything had arrived."""
        self._chunks.clear()
        self._inner.discard()

    @property
    def paused(self) -> bool:
        """Whether it is the reader that everyone waits for."""
        return self._inner.paused

    def _arrived(self, complete: bool) -> None:  # noqa: FBT001  the signature of `on_end`
        if complete:
            rest = self._inner.take()
            if rest:
                self._chunks.append(rest)
                self._record(rest)
        self.ended = True
        parts = self._stop()
        if parts is not None:
            if complete:
                self._keeper.complete(b"".join(parts))
            else:
                self._keeper.broken()
        if self._tell_next is not None:
            self._tell_next(complete)
        self._settle(complete=complete)

    def _record(self, chunk: bytes) -> None:
        self.received += len(chunk)
        if self._parts is None:
            return
        if self._keeper.reserve(self._held, len(chunk)):
            self._held += len(chunk)
            self._parts.append(chunk)
        else:
            self._stop()
            self._keeper.outgrown()

    def _stop(self) -> list[bytes] | None:
        parts, self._parts = self._parts, None
        self._keeper.release(self._held)
        self._held = 0
        return parts

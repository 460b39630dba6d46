"""Where the second level is kept: blobs that many processes share, and who may write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from escala.caching.pure.blob import Header, Mark
from escala.caching.pure.signal import Signal
from escala.errors import ConfigError
from escala.kernel.registry import load
from escala.kernel.runtime import Runtime

__all__ = ["Ear", "Found", "Mark", "Put", "Signal", "ValueStore", "open_value_store"]

VALUE_STORES = "escala.value_stores"


class Found(NamedTuple):
    """What a store knows of a key.

    `blob` is `None` when there is nothing that may be served, not even as stale. `expired`: it
    was hit by an `expire`, so it may be served only as stale. `token`: a lease to load with;
    `None` when there is no need, when another caller has it, or when a hold-off is in force.
    `wait`: seconds that the other's lease has left, 0.0 if there is none. `mark`: put it into the
    header of what is loaded now. `whole`: what is in the blob, where the store has looked.
    """

    blob: bytes | None
    expired: bool
    token: bytes | None
    wait: float
    mark: Mark
    whole: tuple[Header, bytes] | None = None


class Put(NamedTuple):
    """A blob to keep for `keep` seconds, loaded with the lease `token`."""

    key: str
    token: bytes
    blob: bytes
    keep: float


class Ear(Protocol):
    """Who hears what others invalidate. Called from any thread, in order, and has to be quick.

    `bound`: within so many seconds it is told of an invalidation, or that it may have missed one.

    A forked child is told `lost` before it does anything else, when a lock that another thread
    held is held for ever: it must take none that is not made anew before.
    """

    @property
    def bound(self) -> float:
        """Seconds."""
        ...

    def heard(self, signals: list[Signal]) -> None:
        """Another writer has invalidated these."""
        ...

    def lost(self) -> None:
        """From here on invalidations may be missed."""
        ...

    def regained(self) -> None:
        """Listening again: some may have been missed, or the store has lost its memory."""
        ...


class ValueStore(Protocol):
    """Blobs by key, with leases and a clock of invalidations. One object serves threads and tasks.

    An entry point in the group `escala.value_stores` names the class for a URL scheme; it is made
    as `Class(url, name, writer)`, which does no I/O. `name` is the cache's and keeps it apart
    from others in the same store; `writer` is random text of this cache object, by which it
    does not hear itself. Keys and tags are any text.

    Each method is one step of the store, and one round trip for up to a thousand keys. It raises
    `StoreUnavailable` when the store does not answer or answers with an error,
    `DeadlineExceeded` when the caller's time was up before, and `WouldBlock` for a sync caller
    that would have to wait inside a running event loop. What was asked may then have happened or
    not, and asking again does no harm. Whatever someone else has written where a blob should be
    is a miss. Times are the store's own.
    """

    async def read(
        self, keys: Sequence[str], lease: float, runtime: Runtime, *, early: bool = False
    ) -> list[Found]:
        """What may be served for each key, fresh or stale, and a lease for who has to load.

        Nothing that was deleted, is of another epoch, or is past born + fresh + stale. Of the
        keys that are missing, expired or past born + fresh (with `early` of all) each free lease
        is taken for `lease` seconds; with 0.0 none is. During a hold-off there are none.
        """
        ...

    async def claim(self, keys: Sequence[str], lease: float, runtime: Runtime) -> list[Found]:
        """Delete the keys and give their leases to the caller, whoever had them.

        So begins who has the value already: a load that is under way can no longer store.
        """
        ...

    async def store(
        self, puts: Sequence[Put], runtime: Runtime, *, tell: bool = False
    ) -> list[bool]:
        """Keep blobs, each only if its token is still the key's lease; that lease then ends.

        With `tell` the other writers hear of each that is kept as of a deleted key, so that none
        of them goes on with the value before it.

        False also during a hold-off, and for what was deleted since the blob's mark.
        """
        ...

    async def release(self, keys_and_tokens: Sequence[tuple[str, bytes]], runtime: Runtime) -> None:
        """End leases without a blob, so that the next caller loads at once."""
        ...

    async def invalidate(
        self, signals: Sequence[Signal], runtime: Runtime, *, hold: float = 0.0
    ) -> None:
        """Delete or expire, and tell the other writers.

        Loads under way can no longer store what they read before: a key's lease ends, for a tag
        or all it is the blob's mark that tells. For `hold` seconds a replica may lag behind the
        source: meanwhile there is no lease for the signals' keys and nothing is stored for them,
        and what is loaded from a mark of meanwhile and has one of the tags is not stored.
        """
        ...

    def listen(self, ear: Ear) -> None:
        """Tell this ear what other writers invalidate, until `close`; once for each store."""
        ...

    def close(self) -> None:
        """Stop listening and let go of connections; may be called twice."""
        ...


def kept_of(puts: Sequence[Put], kept: Sequence[bool]) -> list[Signal]:
    """What others are told of when blobs were kept."""
    return [Signal("key", put.key) for put, each in zip(puts, kept, strict=True) if each]


def open_value_store(url: str, name: str, writer: str) -> ValueStore:
    """The store for a URL, such as "redis://localhost"; no I/O yet.

    Raises `ConfigError` when no installed package keeps values behind such a URL.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:  # what was found is not shown: it may be a password
        raise ConfigError(
            f"{name}: l2: expected a URL such as 'redis://localhost:6379', found text without '://'"
        )
    try:
        store: ValueStore = load(VALUE_STORES, scheme)(url, name, writer)
    except ConfigError as error:
        raise ConfigError(*(f"{name}: l2: {each}" for each in error.problems)) from error
    return store

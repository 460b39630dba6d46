"""What becomes of the map of shards in a router, told to whoever listens."""

from __future__ import annotations

from escala.kernel.events import Event


class MapRefused(Event, frozen=True, kw_only=True):
    """A shard has another map: `epoch` is the shard's, `ours` the router's."""

    shard: str
    epoch: int
    ours: int


class MapReloaded(Event, frozen=True, kw_only=True):
    """The router took over the newer map of a shard."""

    shard: str
    epoch: int


class MapInstalled(Event, frozen=True, kw_only=True):
    """The router gave its newer map to a shard."""

    shard: str
    epoch: int

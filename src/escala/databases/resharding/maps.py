"""The map of shards as the shards have it."""

from __future__ import annotations

from collections.abc import Iterable

from escala.databases.resharding.fence import OPEN
from escala.databases.resharding.node import Node, literal
from escala.databases.resharding.patience import patiently
from escala.databases.sharding.shard_map import ShardMap
from escala.errors import CannotReshard


def newest(nodes: Iterable[Node]) -> ShardMap:
    """The map with the highest epoch. Raises `CannotReshard` where none is installed."""
    maps = [_map(node) for node in nodes]
    return max(maps, key=lambda each: each.epoch)


def install(nodes: Iterable[Node], shard_map: ShardMap) -> None:
    """Give every shard this map, if it has an older one."""
    for node in nodes:
        patiently(
            node,
            "UPDATE escala.shard SET epoch = %(epoch)s, map = %(map)s WHERE epoch < %(epoch)s",
            {"epoch": shard_map.epoch, "map": shard_map.to_json()},
        )


def decide(node: Node, shard_map: ShardMap) -> bool:
    """Make this the map, at the shard whose writers are fenced off, and let them in again.

    From here on it holds. All of it is one message, so that writers wait for no one but their
    server. False when the map there is not the one that this one was made of.
    """
    import psycopg

    try:
        node.rows(
            f"BEGIN; UPDATE escala.shard SET epoch = {shard_map.epoch}, "  # noqa: S608  our own
            f"map = {literal(shard_map.to_json())} WHERE epoch = {shard_map.epoch - 1}; "
            f"COMMIT; {OPEN}"
        )
    except psycopg.Error:
        if not node.connection.broken:
            node.rows("ROLLBACK")
        raise
    return _map(node) == shard_map


def _map(node: Node) -> ShardMap:
    rows = node.rows("SELECT name, map FROM escala.shard")
    if not rows:
        raise CannotReshard(f"{node.name} has no map of shards yet: install it there first")
    name, text = rows[0]
    if name != node.name:
        raise CannotReshard(
            f"expected the shard {node.name!r}, found that its database is the shard {name!r}"
        )
    return ShardMap.from_json(text)

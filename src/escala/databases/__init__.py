"""Which database has the answer: replicas that are read, shards that are written, moves between.

Names are imported when they are first used: the drivers and SQLAlchemy are loaded by those who
open a database, not by those who import the chapter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escala.databases.pure.durability import Durability
    from escala.databases.replicas.cluster import PrimaryChanged, ReplicaChanged
    from escala.databases.replicas.consistency import Consistency
    from escala.databases.replicas.database import Database
    from escala.databases.replicas.failover import Promoted
    from escala.databases.replicas.lag import Lag
    from escala.databases.replicas.routing_session import RoutingSession
    from escala.databases.replicas.safety import FailedOver
    from escala.databases.resharding.reshard import Reshard
    from escala.databases.scattering.scatter_request import scatter
    from escala.databases.sharding.hot_keys import HotKeys, KeyHot, ShardHot
    from escala.databases.sharding.in_doubt import InDoubtSweeper
    from escala.databases.sharding.shard_events import MapInstalled, MapRefused, MapReloaded
    from escala.databases.sharding.shard_map import ShardMap
    from escala.databases.sharding.shard_move import Moving, Rows, ShardMove
    from escala.databases.sharding.sharded_database import ShardedDatabase
    from escala.databases.sharding.sharded_session import ShardedSession
    from escala.databases.sharding.two_phase import TwoPhase
    from escala.databases.snowflake import Snowflake
    from escala.databases.uuid_v7 import uuid7

# name: the module of this chapter that has it
_HOMES: dict[str, str] = {
    "ShardHot": "sharding.hot_keys",
    "KeyHot": "sharding.hot_keys",
    "HotKeys": "sharding.hot_keys",
    "uuid7": "uuid_v7",
    "scatter": "scattering.scatter_request",
    "Snowflake": "snowflake",
    "InDoubtSweeper": "sharding.in_doubt",
    "TwoPhase": "sharding.two_phase",
    "Consistency": "replicas.consistency",
    "Database": "replicas.database",
    "Durability": "pure.durability",
    "FailedOver": "replicas.safety",
    "Promoted": "replicas.failover",
    "Lag": "replicas.lag",
    "PrimaryChanged": "replicas.cluster",
    "ReplicaChanged": "replicas.cluster",
    "RoutingSession": "replicas.routing_session",
    "ShardMap": "sharding.shard_map",
    "ShardedDatabase": "sharding.sharded_database",
    "ShardedSession": "sharding.sharded_session",
    "MapInstalled": "sharding.shard_events",
    "MapRefused": "sharding.shard_events",
    "MapReloaded": "sharding.shard_events",
    "ShardMove": "sharding.shard_move",
    "Rows": "sharding.shard_move",
    "Reshard": "resharding.reshard",
    "Moving": "sharding.shard_move",
}

__all__ = [
    "Consistency",
    "Database",
    "Durability",
    "FailedOver",
    "HotKeys",
    "InDoubtSweeper",
    "KeyHot",
    "Lag",
    "MapInstalled",
    "MapRefused",
    "MapReloaded",
    "Moving",
    "PrimaryChanged",
    "Promoted",
    "ReplicaChanged",
    "Reshard",
    "RoutingSession",
    "Rows",
    "ShardHot",
    "ShardMap",
    "ShardMove",
    "ShardedDatabase",
    "ShardedSession",
    "Snowflake",
    "TwoPhase",
    "scatter",
    "uuid7",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'escala.databases' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"escala.databases.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

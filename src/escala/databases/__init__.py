"""Which database has the answer: replicas that are read, shards that are written, moves between.

Names are imported when they are first used: the drivers and SQLAlchemy are loaded by those who
open a database, not by those who import the chapter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escala.databases.cluster import PrimaryChanged, ReplicaChanged
    from escala.databases.consistency import Consistency
    from escala.databases.database import Database
    from escala.databases.failover import Promoted
    from escala.databases.hot_keys import HotKeys, KeyHot, ShardHot
    from escala.databases.in_doubt import InDoubtSweeper
    from escala.databases.lag import Lag
    from escala.databases.pure.durability import Durability
    from escala.databases.resharding.reshard import Reshard
    from escala.databases.routing_session import RoutingSession
    from escala.databases.safety import FailedOver
    from escala.databases.scatter_request import scatter
    from escala.databases.shard_events import MapInstalled, MapRefused, MapReloaded
    from escala.databases.shard_map import ShardMap
    from escala.databases.shard_move import Moving, Rows, ShardMove
    from escala.databases.sharded_database import ShardedDatabase
    from escala.databases.sharded_session import ShardedSession
    from escala.databases.snowflake import Snowflake
    from escala.databases.two_phase import TwoPhase
    from escala.databases.uuid_v7 import uuid7

# name: the module of this chapter that has it
_HOMES: dict[str, str] = {
    "ShardHot": "hot_keys",
    "KeyHot": "hot_keys",
    "HotKeys": "hot_keys",
    "uuid7": "uuid_v7",
    "scatter": "scatter_request",
    "Snowflake": "snowflake",
    "InDoubtSweeper": "in_doubt",
    "TwoPhase": "two_phase",
    "Consistency": "consistency",
    "Database": "database",
    "Durability": "pure.durability",
    "FailedOver": "safety",
    "Promoted": "failover",
    "Lag": "lag",
    "PrimaryChanged": "cluster",
    "ReplicaChanged": "cluster",
    "RoutingSession": "routing_session",
    "ShardMap": "shard_map",
    "ShardedDatabase": "sharded_database",
    "ShardedSession": "sharded_session",
    "MapInstalled": "shard_events",
    "MapRefused": "shard_events",
    "MapReloaded": "shard_events",
    "ShardMove": "shard_move",
    "Rows": "shard_move",
    "Reshard": "resharding.reshard",
    "Moving": "shard_move",
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

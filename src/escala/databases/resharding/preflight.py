"""Everything that would stop a move later, asked for before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from escala.databases.resharding.moved_table import MovedTable, table_of
from escala.databases.resharding.node import Node
from escala.databases.resharding.selection import Selection
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import ConfigError

_OLDEST = 15
_SERVER = """
SELECT current_setting('wal_level'),
  (SELECT system_identifier FROM pg_control_system()) || ' ' || pg_postmaster_start_time(),
  current_setting('max_replication_slots')::int
    - greatest((SELECT count(*) FROM pg_replication_slots),
               (SELECT count(*) FROM pg_replication_origin_status)),
  current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication),
  least(current_setting('max_logical_replication_workers')::int
      - (SELECT count(*) FROM pg_stat_subscription WHERE pid IS NOT NULL),
    current_setting('max_worker_processes')::int
      - (SELECT count(*) FROM pg_stat_activity WHERE backend_type IN
         ('logical replication launcher', 'logical replication worker', 'parallel worker')))
"""
_WHO = """
SELECT current_setting('server_version_num')::int / 10000,
  current_setting('is_superuser')::boolean, pg_is_in_recovery()
"""
_RELATIONS = """
WITH moved AS (SELECT to_regclass(name)::oid AS oid FROM unnest(%(moved)s::text[]) name),
  known AS (SELECT to_regclass(name)::oid AS oid FROM unnest(%(known)s::text[]) name)
SELECT DISTINCT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
WHERE contype = 'f'
  AND (conrelid IN (SELECT oid FROM moved) OR confrelid IN (SELECT oid FROM moved))
  AND NOT (conrelid IN (SELECT oid FROM known) AND confrelid IN (SELECT oid FROM known))
ORDER BY 1, 2
"""
_HEAPS = 64
_FOR_COPIES = 1  # slot, sender and worker more than there are streams


class Found:
    """What is wrong, and what is only to be known."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []


def check_move(move: ShardMove, shard_map: ShardMap) -> str | None:
    """Why this move cannot be made, whatever the servers are; None if it can."""
    label = f"{move.source} -> {move.target}"
    if move.ranges or move.share or move.region or len(shard_map.key) > 1:
        return f"{label}: expected a map by slots, the only kind that can be moved while it is used"
    if shard_map.moving:
        return f"{label}: another move is under way in the map of shards"
    try:
        shard_map.with_moving(move)
    except ConfigError as error:
        return f"{label}: {error}"
    return None


def check_servers(source: Node, target: Node, streams: int, found: Found) -> bool:
    """Whether both servers can send and take changes; each will do both."""
    systems, needs = [], streams + _FOR_COPIES
    before = len(found.problems)
    for node in (source, target):
        first = len(found.problems)
        version, superuser, standby = node.rows(_WHO)[0]
        if version < _OLDEST:
            found.problems.append(
                f"{node.name}: expected PostgreSQL {_OLDEST} or newer, found {version}"
            )
        if standby:
            found.problems.append(f"{node.name}: expected a primary, found a standby")
        if not superuser:
            found.problems.append(f"{node.name}: expected a superuser, who may subscribe")
        if len(found.problems) > first:
            continue  # who is no superuser may not ask for the rest
        wal_level, system, slots, senders, workers = node.rows(_SERVER)[0]
        systems.append(system)
        if wal_level != "logical":
            found.problems.append(
                f"{node.name}: expected wal_level=logical, found {wal_level}; set it and restart"
            )
        for name, free in (
            ("max_replication_slots", slots),
            ("max_wal_senders", senders),
            ("max_logical_replication_workers or max_worker_processes", workers),
        ):
            if free < needs:
                found.problems.append(
                    f"{node.name}: expected {needs} to be free of {name}, found {free}"
                )
    if len(systems) == 2 and systems[0] == systems[1]:  # noqa: PLR2004  the two of them
        found.problems.append(
            f"{source.name} and {target.name} are on one server, where moving gains nothing; "
            "the target has to be another one"
        )
    return len(found.problems) == before


def selections(
    ends: tuple[Node, Node],
    tables: Mapping[str, str],
    move: ShardMove,
    shard_map: ShardMap,
    found: Found,
) -> list[Selection]:
    """What is to move of each table, where the tables of both shards allow it."""
    selected = []
    source, target = ends
    for name, key in tables.items():
        ours, theirs = table_of(source, name), table_of(target, name)
        wrong = list(_wrong(name, key, {source.name: ours, target.name: theirs}))
        found.problems += wrong
        if wrong or ours is None:
            continue
        try:
            rows = shard_map.rows_sql(shard_map.rows(move), key, ours.shape[key])
            heap = "0"
            if move.slots:
                heap = f"{shard_map.slot_sql(key, ours.shape[key])} & -{_heap(shard_map)}"
        except ConfigError as error:
            found.problems.append(f"{ours.sql}: {error}")
            continue
        selected.append(Selection(ours, rows, heap))
        if target.value(f"SELECT 1 FROM {ours.sql} WHERE {rows} LIMIT 1"):  # noqa: S608  names from the catalog
            found.problems.append(
                f"{target.name}: {ours.sql} has rows already of the slots that are to come; "
                "delete them, or find out whose they are"
            )
        if ours.from_sequences:
            found.warnings.append(
                f"{ours.sql}: {', '.join(ours.from_sequences)} come from a sequence of each shard: "
                "the same number may be on two of them, and the second one cannot come in"
            )
    return selected


def check_reference(source: Node, target: Node, names: Iterable[str], found: Found) -> None:
    """See that tables which are on every shard are the same on both."""
    for name in names:
        digests = []
        for node in (source, target):
            table = table_of(node, name)
            if table is None:
                found.problems.append(f"{node.name}: there is no reference table {name}")
                break
            digests.append(node.rows(Selection(table, "true", "0").digest))
        if len(digests) == 2 and digests[0] != digests[1]:  # noqa: PLR2004  the two of them
            found.problems.append(
                f"{name}: expected a reference table to be the same on {source.name} and "
                f"{target.name}, found that it is not"
            )


def check_relations(
    source: Node, tables: Iterable[str], reference: Iterable[str], found: Found
) -> None:
    """Tell of foreign keys between a table that moves and one that does not."""
    values = {"moved": [*tables], "known": [*tables, *reference]}
    for child, parent in source.rows(_RELATIONS, values):
        found.warnings.append(
            f"{source.name}: {child} refers to {parent}, and one of them does not move: rows that "
            "refer to each other come apart; is it a sharded table, or a reference table, too?"
        )


def _wrong(name: str, key: str, tables: Mapping[str, MovedTable | None]) -> Iterable[str]:
    for shard, table in tables.items():
        if table is None:
            yield f"{shard}: there is no table {name}"
        elif (table.kind, table.persistence) != ("r", "p"):
            yield f"{shard}: {table.sql}: expected a plain table, logged and without partitions"
        elif not table.primary_key:
            yield f"{shard}: {table.sql}: expected a primary key, found none"
        elif key not in table.columns:
            yield f"{shard}: {table.sql}: expected the shard key {key!r} among its columns"
        else:
            yield from _fired(shard, table)
    (source, ours), (target, theirs) = tables.items()
    if ours is None or theirs is None:
        return
    if (ours.schema, ours.name) != (theirs.schema, theirs.name):
        yield f"{name}: it is {ours.sql} on {source}, and {theirs.sql} on {target}"
    elif ours.shape != theirs.shape:
        unlike = sorted({name for name, _ in ours.shape.items() ^ theirs.shape.items()})
        yield f"{ours.sql}: other columns on {source} than on {target}: {', '.join(unlike)}"
    elif ours.primary_key != theirs.primary_key:
        yield f"{ours.sql}: another primary key on {source} than on {target}"


def _fired(shard: str, table: MovedTable) -> Iterable[str]:
    if table.triggers:
        yield (
            f"{shard}: {table.sql}: {', '.join(table.triggers)} would fire for rows that are "
            "copied or cleaned away; expected no trigger that is ENABLE ALWAYS or REPLICA"
        )


def _heap(shard_map: ShardMap) -> int:
    """How many slots make a heap, so that there are not too many."""
    return max(1, shard_map.slot_count // _HEAPS)

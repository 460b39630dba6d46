"""What would move, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from escala.databases.pure.key_value import as_json
from escala.databases.pure.slot_runs import members
from escala.databases.resharding import maps
from escala.databases.resharding.job import Job, Pair, job_on
from escala.databases.resharding.node import Node
from escala.databases.resharding.preflight import (
    Found,
    check_move,
    check_reference,
    check_relations,
    check_servers,
    selections,
)
from escala.databases.resharding.selection import Selection
from escala.databases.sharding.shard_map import ShardMap
from escala.databases.sharding.shard_move import ShardMove
from escala.errors import CannotReshard, ConfigError


class PlannedPair(NamedTuple):
    """What goes from one shard to another; `rows` is an estimate."""

    source: str
    target: str
    slots: int
    keys: int
    rows: int


class Plan(NamedTuple):
    """The pairs, with what forbids the move and what is only to be known."""

    pairs: list[PlannedPair]
    problems: list[str]
    warnings: list[str]
    draft: Job

    def job(self) -> Job:
        """What to begin. Raises `CannotReshard` with all that forbids it."""
        if self.problems:
            raise CannotReshard("\n".join(self.problems))
        return self.draft


def planned(
    nodes: Mapping[str, Node], tables: Mapping[str, str], reference: Sequence[str], goal: ShardMap
) -> Plan:
    """Compare the shards' map with the one to come, and ask the servers what they have."""
    if job_on(nodes.values()) is not None:
        raise CannotReshard("a move is under way already: complete or abort that one first")
    current = maps.newest(nodes.values())
    moves = current.plan(goal)
    if not moves:
        raise CannotReshard("nothing has to move: the shards' map places all keys as this one")
    if missing := sorted({move.target for move in moves} - nodes.keys()):
        raise ConfigError(f"Reshard: urls: expected {', '.join(missing)} too")
    found = Found()
    if len({bool(move.keys) for move in moves}) > 1:
        found.problems.append("pins and slots change at once: move them in two jobs")
    name = f"escala_{uuid4().hex[:8]}"
    pairs, drafts, sql = [], [], {}
    for number, move in enumerate(moves):
        wrong = check_move(move, current)
        if wrong:
            found.problems.append(wrong)
            continue
        source, target = nodes[move.source], nodes[move.target]
        involved = [each for each in moves if {each.source, each.target} & {*move_ends(move)}]
        selected: list[Selection] = []
        if check_servers(source, target, len(involved), found):
            selected = selections((source, target), tables, move, current, found)
            check_reference(source, target, reference, found)
            check_relations(source, tables, reference, found)
        sql.update(dict(zip((each.table.sql for each in selected), tables.values(), strict=False)))
        pairs.append(
            PlannedPair(
                move.source,
                move.target,
                len(members(move.slots)),
                len(move.keys),
                _estimate(source, selected, current, move),
            )
        )
        drafts.append(
            Pair(
                name=f"{name}_{number}",
                source=move.source,
                target=move.target,
                slots=move.slots,
                listed=[*map(as_json, move.keys)],
                selected={each.table.sql: (each.rows, each.heap) for each in selected},
            )
        )
    draft = Job(id=name, home=moves[0].source, goal=goal.to_json(), tables=sql, pairs=drafts)
    return Plan(pairs, found.problems, found.warnings, draft)


def move_ends(move: ShardMove) -> tuple[str, str]:
    """Its two shards."""
    return move.source, move.target


def _estimate(node: Node, selected: Sequence[Selection], current: ShardMap, move: ShardMove) -> int:
    """The share of the source's slots, of the rows that its statistics know."""
    if not move.slots:
        return 0
    share = len(members(move.slots)) / current.owners.count(move.source)
    total = sum(
        max(0, node.value("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", (sql,)))
        for sql in (each.table.sql for each in selected)
    )
    return int(total * share)

"""The moment in which slots change hands: the only one in which writers wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from escala.databases.resharding import maps
from escala.databases.resharding.barrier import wait_for_all
from escala.databases.resharding.fence import Held, fence
from escala.databases.resharding.follow import caught_up
from escala.databases.resharding.job import Pair
from escala.databases.resharding.node import Node
from escala.databases.resharding.stream import Stream
from escala.databases.resharding.tables_now import tables_now
from escala.databases.resharding.waiting import TooLate, now, pause, wait_until
from escala.databases.sharding.shard_map import ShardMap
from escala.errors import CannotReshard

_TRIES, _BETWEEN = 10, 0.5
_BEFORE = 0.7  # of the pause, at most, until the decision


class Stale(CannotReshard):
    """The rows were compared, but not those that are there now."""


def cut(
    live: Stream,
    other: Stream,
    pair: Pair,
    nodes: Mapping[str, Node],
    *,
    max_pause: float,
    tell: Callable[[str], None],
) -> float:
    """Hand the slots to the subscriber of the live stream; the seconds in which writers waited.

    Gives up and tries again a moment later when it would take longer than `max_pause`. Raises
    `CannotReshard` with what was in the way, after ten tries, and all is as it was.
    """
    import psycopg

    owner, why = live.publisher, CannotReshard("")
    for _ in range(_TRIES):
        with caught_up(live, max_pause / 5, tell):
            newest = maps.newest(nodes.values())
            maps.install([owner], newest)
            decision = _decision(newest, pair, live)
            began = now()
            try:
                _once(live, other, pair, decision, max_pause)
            except (Held, TooLate) as error:
                why = error
            except psycopg.OperationalError as error:
                if live.subscriber.connection.broken:
                    raise
                if owner.connection.broken:
                    owner.renew()
                    if maps.newest([owner]) == decision:
                        return now() - began
                why = CannotReshard(f"{owner.name} has ended it: {error}")
                live.start()
            else:
                return now() - began
        tell(f"not yet: {why}")
        pause(_BETWEEN)
    raise CannotReshard(
        f"{pair.label}: not within {max_pause * 1000:.0f} ms, tried {_TRIES} times: {why}"
    ) from why


def _decision(newest: ShardMap, pair: Pair, live: Stream) -> ShardMap:
    moving = pair.moving(newest.moving)
    if moving is None or moving.owner != live.publisher.name:
        raise CannotReshard(f"{pair.label}: the map of shards does not have this move; abort")
    return newest.moved(moving)


def _once(live: Stream, other: Stream, pair: Pair, decision: ShardMap, max_pause: float) -> None:
    owner, heir = live.publisher, live.subscriber
    until = now() + max_pause * _BEFORE
    with fence(owner, max_pause):
        try:
            wait_for_all(live, until)
            live.stop(until)
            _check(live, pair)
            # Stopping was a commit of the heir, so its log is on disk up to here, and with it all
            # that came with the stream: none of that is to go back.
            other.start_from(heir.value("SELECT pg_current_wal_insert_lsn()::text"))
            wait_until(lambda: now() < until, until, "the shards to hand over in time")
        except BaseException:
            live.start()
            raise
        # From here on it may have happened, whatever we hear: the map tells whoever comes next.
        if not maps.decide(owner, decision):
            live.start()
            raise CannotReshard(f"{pair.label}: someone has changed the map meanwhile: run again")


def _check(live: Stream, pair: Pair) -> None:
    """Refuse what makes the comparison of rows worthless: it was of other tables than these."""
    for node in (live.publisher, live.subscriber):
        found = tables_now(node, [selection.table for selection in live.selections])
        if found != pair.verified[node.name]:
            raise Stale(
                f"a table on {node.name} was truncated, rewritten or altered since its rows were "
                "compared: run again, which compares them anew"
            )

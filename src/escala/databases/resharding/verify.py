"""Whether both ends of a stream have the same rows, while they are written all the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from escala.databases.resharding.barrier import BARRIER, new_barrier, post
from escala.databases.resharding.fence import behind_fence
from escala.databases.resharding.stream import Stream
from escala.databases.resharding.tables_now import tables_now
from escala.databases.resharding.waiting import now, wait_until
from escala.errors import CannotReshard

if TYPE_CHECKING:
    from psycopg import Connection

    from escala.databases.resharding.node import Node

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_SHOWN, _TRIES = 5, 3


def verified(
    stream: Stream, max_pause: float, tell: Callable[[str], None]
) -> tuple[dict[str, str], int]:
    """Compare all rows; what the tables were like (`tables_now`), and how many rows there are.

    Raises `CannotReshard` with what is not the same, after a second look.
    """
    ends = (stream.publisher, stream.subscriber)
    tables = [selection.table for selection in stream.selections]
    before = {node.name: tables_now(node, tables) for node in ends}
    found, compared = differences(stream, max_pause, tell)
    if found:
        tell("comparing once more")
        found, compared = differences(stream, max_pause, tell)
    if not found:
        return before, compared
    shown = "; ".join(found[:_SHOWN])
    raise CannotReshard(
        f"the rows are not the same, {len(found)} times: {shown}. Who writes past the fence, or "
        "wrote to the target? Abort, and begin anew"
    )


def differences(
    stream: Stream, max_pause: float, tell: Callable[[str], None]
) -> tuple[list[str], int]:
    """The heaps of rows that are not the same at both ends, and how many rows were compared.

    Both ends are read as they were at one moment of the stream, so that rows which are written
    meanwhile make no difference.
    """
    import psycopg

    for _ in range(_TRIES):
        try:
            return _differences(stream, max_pause, tell)
        except psycopg.OperationalError:
            if not stream.publisher.connection.broken:
                raise
            stream.publisher.renew()  # its server has ended the fence
    raise CannotReshard(f"{stream.publisher.name} ended the connection {_TRIES} times: run again")


def _differences(
    stream: Stream, max_pause: float, tell: Callable[[str], None]
) -> tuple[list[str], int]:
    found: list[str] = []
    compared = 0
    with both_at_one_moment(stream, max_pause) as (here, there), ThreadPoolExecutor(2) as pool:
        for selection in stream.selections:
            tell(f"comparing {selection.table.sql}, {compared:,} rows so far")
            mine, other = pool.map(_digest, (here, there), [selection.digest] * 2)
            compared += sum(count for count, _ in mine.values())
            found += [
                f"{selection.table.sql}, slots from {heap}: {_rows(mine, heap)} on "
                f"{stream.publisher.name}, {_rows(other, heap)} on {stream.subscriber.name}"
                for heap in sorted(mine.keys() | other.keys())
                if mine.get(heap) != other.get(heap)
            ]
    return found, compared


def _digest(connection: Connection[Any], sql: str) -> dict[int, tuple[int, int]]:
    rows = connection.execute(sql).fetchall()
    return {heap: (count, int(total)) for heap, count, total in rows}


def _rows(digest: Mapping[int, tuple[int, int]], heap: int) -> str:
    count, total = digest.get(heap, (0, 0))
    return f"{count} rows ({total % 2**64:x})"


@contextmanager
def both_at_one_moment(
    stream: Stream, max_pause: float
) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
    """Two snapshots, of either end, between which nothing is under way.

    The subscriber's worker stops at a barrier, because a transaction of ours there has inserted
    the same row already: then everything before the barrier is applied, and nothing after it.
    At the publisher the barrier and the snapshot are made behind the fence.
    """
    with ExitStack() as stack:
        hold, there, here = (
            stack.enter_context(node.connect())
            for node in (stream.subscriber, stream.subscriber, stream.publisher)
        )
        barrier = new_barrier()
        hold.execute("BEGIN")
        hold.execute(f"INSERT INTO {BARRIER} VALUES (%s, %s)", (stream.name, barrier))  # noqa: S608

        def begin() -> None:
            post(stream, barrier)
            _look(here)

        behind_fence(stream.publisher, max_pause, begin)
        wait_until(
            lambda: _stopped(stream.subscriber, stream.name, hold.info.backend_pid),
            now() + 60,
            f"{stream.subscriber.name} to have the changes that it is to be compared with",
        )
        _look(there)
        hold.execute("ROLLBACK")
        yield here, there


def _look(connection: Connection[Any]) -> None:
    connection.execute(_SNAPSHOT)
    connection.execute("SELECT 1")  # a snapshot is taken with the first statement


def _stopped(node: Node, name: str, holder: int) -> bool:
    return bool(
        node.rows(
            "SELECT 1 FROM pg_stat_subscription WHERE subname = %s AND relid IS NULL "
            "AND %s = ANY(pg_blocking_pids(pid))",
            (name, holder),
        )
    )

"""A row that tells when everything before it has arrived at the other end of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from escala.databases.resharding.node import Node
from escala.databases.resharding.waiting import now, wait_until

if TYPE_CHECKING:
    from escala.databases.resharding.stream import Stream

BARRIER = "escala.barrier"
_TABLE = f"""
CREATE TABLE IF NOT EXISTS {BARRIER} (stream text, id text, PRIMARY KEY (stream, id))
"""


def make_barriers(node: Node) -> None:
    """Make the table, which is published with the others; each stream sees only its own rows."""
    node.rows(_TABLE)


def drop_barriers(node: Node) -> None:
    """Take the table away."""
    node.rows(f"DROP TABLE IF EXISTS {BARRIER}")


def new_barrier() -> str:
    """An id that no barrier had."""
    return uuid4().hex


def post(stream: Stream, barrier: str) -> None:
    """Send a barrier; older ones go away, here and at the other end."""
    stream.publisher.rows(
        f"WITH old AS (DELETE FROM {BARRIER} WHERE stream = %(stream)s) "  # noqa: S608  our own
        f"INSERT INTO {BARRIER} VALUES (%(stream)s, %(id)s)",
        {"stream": stream.name, "id": barrier},
    )


def arrived(stream: Stream, barrier: str) -> bool:
    """Whether all that was committed before the barrier is there."""
    sql = f"SELECT 1 FROM {BARRIER} WHERE stream = %s AND id = %s"  # noqa: S608  our own
    return bool(stream.subscriber.rows(sql, (stream.name, barrier)))


def wait_for_all(stream: Stream, until: float) -> float:
    """Wait for everything that is committed now; the seconds that it took, or `TooLate`."""
    barrier, began = new_barrier(), now()
    post(stream, barrier)
    wait_until(
        lambda: arrived(stream, barrier),
        until,
        f"the changes of {stream.publisher.name} to arrive at {stream.subscriber.name}",
    )
    return now() - began

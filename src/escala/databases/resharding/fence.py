"""No write transaction on a shard, for a moment that its server itself makes an end of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from escala.databases.resharding.node import Node
from escala.databases.resharding.waiting import pause
from escala.databases.sharding.shard_server import FENCE_LOCK
from escala.errors import CannotReshard

# Prepared transactions hold the lock too, and have no process.
_HOLDERS = f"""
SELECT coalesce(
    'process ' || a.pid || coalesce(' of ' || nullif(a.application_name, ''), '')
      || ', in a transaction for ' || round(extract(epoch FROM now() - a.xact_start), 1) || ' s: '
      || left(regexp_replace(a.query, '\\s+', ' ', 'g'), 60),
    'a prepared transaction')
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.classid::bigint = {FENCE_LOCK >> 32} AND l.objid::bigint = {FENCE_LOCK & 0xFFFFFFFF}
  AND l.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY a.xact_start NULLS FIRST LIMIT 3
"""  # noqa: S608  numbers of our own


_FOR_WRITERS = 0.4  # of the pause, at most, until the running transactions have ended
_SILENCE = 0.6  # of the pause, at most, in which a coordinator says nothing
_TRIES, _BETWEEN = 20, 0.5
OPEN = f"""
SELECT pg_advisory_unlock({FENCE_LOCK}) FROM pg_locks
WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 1
  AND classid::bigint = {FENCE_LOCK >> 32} AND objid::bigint = {FENCE_LOCK & 0xFFFFFFFF}
"""  # noqa: S608  numbers of our own
_OPEN = f"{OPEN}; RESET lock_timeout; RESET statement_timeout; RESET idle_session_timeout"


class Held(CannotReshard):
    """Write transactions did not end in the time that new ones can be made to wait."""


@contextmanager
def fence(node: Node, max_pause: float) -> Iterator[None]:
    """Let the running write transactions end and no other begin; raises `Held` if they do not.

    New ones wait from the first moment on. A coordinator that says nothing for 0.6 of `max_pause`
    (frozen, or cut off) loses its connection and with it the fence: the server sees to it. So
    what is decided behind the fence has to be decided on this connection.
    """
    _close(node, max(1, int(max_pause * 1000)))
    try:
        yield
    finally:
        if not node.connection.broken:
            node.rows(_OPEN)


def _close(node: Node, milliseconds: int) -> None:
    import psycopg

    try:
        # One message, so one transaction: when the lock is not had, nothing is set either.
        node.rows(
            f"SET idle_session_timeout = {max(1, int(milliseconds * _SILENCE))}; "
            f"SET statement_timeout = {milliseconds}; "
            f"SET lock_timeout = {max(1, int(milliseconds * _FOR_WRITERS))}; "
            f"SELECT pg_advisory_lock({FENCE_LOCK})"
        )
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
        holders = [holder for (holder,) in node.rows(_HOLDERS)]
        told = "; ".join(holders) or "they have ended since"
        raise Held(f"write transactions on {node.name} go on and on: {told}") from None


def behind_fence(node: Node, max_pause: float, do: Callable[[], None]) -> None:
    """Do something short behind the fence, when a moment comes at which it can be closed."""
    for left in reversed(range(_TRIES)):
        try:
            with fence(node, max_pause):
                return do()
        except Held:
            if not left:
                raise
            pause(_BETWEEN)
    return None

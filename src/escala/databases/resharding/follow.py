"""Until what is written at one end is at the other a moment later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from escala.databases.pure.writer_throttle import WriterThrottle
from escala.databases.resharding.barrier import arrived, new_barrier, post
from escala.databases.resharding.node import Node
from escala.databases.resharding.stream import Stream
from escala.databases.resharding.waiting import now, pause
from escala.errors import CannotReshard

_SOON, _LOOK = 0.002, 0.02
_OVERDUE = 0.5  # a barrier that takes longer says nothing more
_ENOUGH = 3  # so many barriers in a row within the goal
_MOST_FAILURES = 3
_STANDSTILL = 120.0
_THROTTLED = 5.0
_LONGEST = 3600.0

Tell = Callable[[str], None]


def wait_for_copy(stream: Stream, tell: Tell) -> None:
    """Until all tables are copied and joined to the stream of changes."""
    failures, seen, moved = stream.failures(), (-1, -1, ""), now()
    while (left := stream.tables_left()) > 0:
        copied = stream.rows_copied()
        tell(f"copying, {left} tables to go, {copied:,} rows of those under way")
        _check(stream, failures)
        at = (left, copied, stream.copies())
        if at != seen:
            seen, moved = at, now()
        elif now() - moved > _STANDSTILL:
            raise CannotReshard(
                f"the copy to {stream.subscriber.name} stands still: an old transaction on "
                f"{stream.publisher.name}, or no free worker or sender; see the servers' logs"
            )
        pause(5 * _LOOK)


@contextmanager
def caught_up(stream: Stream, goal: float, tell: Tell) -> Iterator[None]:
    """Wait until changes arrive within `goal` seconds, and see that they do until the end.

    Writers wait when the lag does not shrink.
    """
    throttle, failures = WriterThrottle(), stream.failures()
    wait, good, until = 0, 0, now() + _LONGEST
    try:
        while good < _ENOUGH:
            took = _seconds_behind(stream)
            good = good + 1 if took <= goal else 0
            lag = stream.lag_bytes()
            due = throttle.after(lag, caught_up=good > 0)
            if due or wait:
                wait = due
                slow_down(stream.publisher, wait)
            tell(f"catching up, {lag:,} bytes behind, writers wait {wait} ms")
            _check(stream, failures)
            if now() > until:
                raise CannotReshard(
                    f"{stream.subscriber.name} does not catch up with {stream.publisher.name}: "
                    "run again when less is written"
                )
        yield
    finally:
        if wait and not stream.publisher.connection.broken:
            slow_down(stream.publisher, 0)


def _seconds_behind(stream: Stream) -> float:
    """How long a barrier takes; infinite when it is overdue."""
    barrier, sent = new_barrier(), now()
    post(stream, barrier)
    look = _SOON
    while not arrived(stream, barrier):
        if now() - sent > _OVERDUE:
            return math.inf
        pause(look)
        look = min(_LOOK, look * 1.5)
    return now() - sent


def slow_down(node: Node, milliseconds: int) -> None:
    """Let each write transaction on a shard wait before it begins; 0 lets them run again.

    Only for some seconds, unless it is said again: who says it may be killed.
    """
    node.rows(
        "UPDATE escala.shard SET throttle = %s, "
        "throttled_until = clock_timestamp() + make_interval(secs => %s)",
        (milliseconds / 1000, _THROTTLED),
    )


def _check(stream: Stream, before: int) -> None:
    failed = stream.failures() - before
    if failed >= _MOST_FAILURES:
        raise CannotReshard(
            f"{stream.subscriber.name} could not apply what came from {stream.publisher.name} "
            f"{failed} times; its server's log says why, such as a row that is there already"
        )

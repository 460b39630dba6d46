"""Ids that are unique over a thousand nodes without asking anyone, and grow with time."""

from __future__ import annotations

from typing import NamedTuple

from escala.errors import ClockWentBack, ConfigError

SEQUENCE_BITS, NODE_BITS, TIME_BITS = 12, 10, 41
LAST_NODE = (1 << NODE_BITS) - 1
_LAST = (1 << SEQUENCE_BITS) - 1
_LAST_MOMENT = (1 << TIME_BITS) - 1


class Parts(NamedTuple):
    """What an id is made of: milliseconds since the epoch, node, and number within these."""

    moment: int
    node: int
    sequence: int


def parts(id_: int) -> Parts:
    """Take an id apart."""
    rest, sequence = divmod(id_, _LAST + 1)
    return Parts(rest >> NODE_BITS, rest & LAST_NODE, sequence)


class SnowflakeSequence:
    """Never gives an id twice, whatever the clock does; times are milliseconds since the epoch.

    The process before this one may have given ids up to the moment `started`, and if the clock
    was set back by `most_back` meanwhile then up to so much later: so the first id is later yet.
    """

    __slots__ = ("_last", "_most_back", "_node", "_sequence")

    def __init__(self, node: int, started: int, most_back: int) -> None:
        self._node, self._most_back = node << SEQUENCE_BITS, most_back
        self._last, self._sequence = started + most_back, _LAST

    def take(self, now: int) -> int:
        """An id; or a negative number, after how many milliseconds to ask again.

        Raises `ClockWentBack` when the clock is further back than `most_back`, and `ConfigError`
        when 41 bits do not hold the time.
        """
        last = self._last
        if now > last:
            if now > _LAST_MOMENT:
                raise ConfigError("Snowflake: epoch: 69 years are over; begin with a later one")
            self._last, self._sequence = now, 0
            return now << (NODE_BITS + SEQUENCE_BITS) | self._node
        if now == last:
            if self._sequence == _LAST:
                return -1
            self._sequence += 1
            return now << (NODE_BITS + SEQUENCE_BITS) | self._node | self._sequence
        if last - now > self._most_back:
            raise ClockWentBack(
                f"Snowflake: the clock is {last - now} ms behind the last id, and at most "
                f"{self._most_back} ms are waited for: set it right, or take another node"
            )
        return now - last

"""Positions in PostgreSQL's log, so that two servers' can be compared."""

from __future__ import annotations

_PAGE = 8192
_HEADERS = (24, 40)  # of a page, and of the first page of a segment


def without_header(lsn: int) -> int:
    """Where a primary's insert position is for those who replay: bytes of WAL.

    At the end of a page it is behind the header of the next one, which no standby reaches before
    there is another record: after `pg_switch_wal` or a backup that may take a long time. No
    record ends in between.

    >>> without_header(8192 + 24), without_header(8192 + 48), without_header(16777216 + 40)
    (8192, 8240, 16777216)
    """
    return lsn - lsn % _PAGE if lsn % _PAGE in _HEADERS else lsn

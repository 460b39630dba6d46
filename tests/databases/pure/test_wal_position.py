from __future__ import annotations

import pytest

from escala.databases.pure.wal_position import without_header

SEGMENT = 16 * 2**20


@pytest.mark.parametrize(
    ("lsn", "found"),
    [
        (0, 0),
        (SEGMENT + 40, SEGMENT),
        (SEGMENT + 8192 + 24, SEGMENT + 8192),
        (SEGMENT + 8192, SEGMENT + 8192),
        (SEGMENT + 8, SEGMENT + 8),
        (SEGMENT + 32, SEGMENT + 32),
        (SEGMENT + 48, SEGMENT + 48),
        (SEGMENT + 8191, SEGMENT + 8191),
        (SEGMENT + 8191 + 24, SEGMENT + 8191 + 24),
    ],
)
def test_a_position_behind_a_header_is_before_it(lsn: int, found: int) -> None:
    assert without_header(lsn) == found

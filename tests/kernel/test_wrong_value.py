"""What an error or a `repr` may show of a URL."""

from __future__ import annotations

import pytest

from escala.kernel.wrong_value import without_password


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:s3cr@localhost", "redis://***@localhost"),
        ("redis://ann:a/b@c@localhost/1?timeout=1s", "redis://***@localhost/1?timeout=1s"),
        ("redis://h?a=1&password=x%20y&b=2", "redis://h?a=1&password=***&b=2"),
        ("postgresql://h/db?PASSWORD=x", "postgresql://h/db?PASSWORD=***"),
        ("rediss://h?ssl_password=x", "rediss://h?ssl_password=***"),
        ("sqlite:///limits.db", "sqlite:///limits.db"),
        ("no url at all", "no url at all"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown

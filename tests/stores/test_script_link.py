"""What is no URL of a store is refused without showing it."""

from __future__ import annotations

import pytest

from escala import CircuitBreaker
from escala.errors import ConfigError


@pytest.mark.parametrize(
    "text", ["redis:ann:hunter2@host", "ann:hunter2@host:6379", "//ann:hunter2@host"]
)
def test_no_password_is_shown_of_a_store_that_is_no_url(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(store=text)
    assert "found text without '://'" in str(caught.value)
    assert "hunter2" not in str(caught.value)

"""What is no URL of a store is refused without showing it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from escala import CircuitBreaker, TokenBucket
from escala.errors import ConfigError


@pytest.mark.parametrize(
    "text", ["redis:ann:hunter2@host", "ann:hunter2@host:6379", "//ann:hunter2@host"]
)
def test_no_password_is_shown_of_a_store_that_is_no_url(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CircuitBreaker(store=text)
    assert "found text without '://'" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("make", [CircuitBreaker, lambda **more: TokenBucket("1/s", **more)])
@pytest.mark.parametrize("one", ["redis", "valkeys"])
def test_a_cluster_is_refused_with_the_reason(make: Callable[..., object], one: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(store=f"{one}+cluster://:hunter2@localhost")
    said = str(caught.value)
    assert f"store: expected one server, such as '{one}://localhost:6379'" in said
    assert f"found '{one}+cluster': each node of a cluster sends callers to the others" in said
    assert "hunter2" not in said

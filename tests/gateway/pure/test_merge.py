from __future__ import annotations

from typing import Any

import pytest

from escala.gateway.pure.merge import merged


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([1, 2], 3),
        ([1.5, 2], 3.5),
        ([True, True], True),
        ([True, False], False),
        (["a", "b"], "a"),
        ([{"x": 1}, {"x": 2, "y": 3}], {"x": 3, "y": 3}),
        ([{"weight": 2}, {"weight": 2}], {"weight": 2}),
        ([{"priority": 1}, {"priority": 1}], {"priority": 1}),
        ([[1, 2], [3, 4]], [4, 6]),
        ([[], []], []),
        ([[1], [1, 2]], [1, 1, 2]),
        (
            [[{"path": "/a", "n": 1}, {"path": "/b", "n": 2}], [{"path": "/b", "n": 3}]],
            [{"path": "/a", "n": 1}, {"path": "/b", "n": 5}],
        ),
        (
            [[{"address": "x", "healthy": True}], [{"address": "x", "healthy": False}]],
            [{"address": "x", "healthy": False}],
        ),
        ([{"n": 5}], {"n": 5}),
        ([None, None], None),
    ],
)
def test_merged(parts: list[Any], expected: Any) -> None:
    assert merged(parts) == expected
    assert type(merged(parts)) is type(expected)

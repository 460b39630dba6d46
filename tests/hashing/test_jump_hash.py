from __future__ import annotations

import pytest

from escala.errors import ConfigError
from escala.hashing import jump_hash
from escala.hashing.pure.digest import digest
from escala.hashing.pure.jump import jumped


def test_text_is_hashed_and_a_number_is_taken_as_it_is() -> None:
    for number in range(200):
        key = f"key:{number}"
        assert (
            jump_hash(key, 10) == jump_hash(key.encode(), 10) == jumped(digest(key.encode(), 0), 10)
        )
        assert jump_hash(key, 10, seed=3) == jumped(digest(key.encode(), 3), 10)
        assert jump_hash(number, 10) == jump_hash(number, 10, seed=3) == jumped(number, 10)


@pytest.mark.parametrize(
    ("key", "buckets", "seed", "text"),
    [
        ("a", 0, 0, "buckets: expected a whole number from 1 to 2147483648, found 0"),
        (
            "a",
            2**31 + 1,
            0,
            "buckets: expected a whole number from 1 to 2147483648, found 2147483649",
        ),
        ("a", 2.0, 0, "buckets: expected a whole number from 1 to 2147483648, found 2.0"),
        ("a", 2, -1, "seed: expected a whole number from 0 to 18446744073709551615, found -1"),
        (-1, 2, 0, "key: expected a whole number from 0 to 18446744073709551615, found -1"),
        (
            2**64,
            2,
            0,
            f"key: expected a whole number from 0 to 18446744073709551615, found {2**64}",
        ),
    ],
)
def test_what_has_no_bucket(key: str, buckets: int, seed: int, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        jump_hash(key, buckets, seed=seed)
    assert str(caught.value) == f"jump_hash: {text}"

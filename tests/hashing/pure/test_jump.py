from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.hashing.pure.jump import jumped

KEYS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize(
    ("key", "buckets", "bucket"),
    [
        (1, 1, 0),
        (42, 57, 43),
        (0xDEAD10CC, 1, 0),
        (0xDEAD10CC, 666, 361),
        (256, 1024, 520),
        (0, 1, 0),
        (2**64 - 1, 1, 0),
    ],
)
def test_values_that_other_implementations_publish(key: int, buckets: int, bucket: int) -> None:
    assert jumped(key, buckets) == bucket


@given(KEYS, st.integers(1, 300))
def test_a_key_stays_or_goes_into_the_new_bucket(key: int, buckets: int) -> None:
    before, after = jumped(key, buckets), jumped(key, buckets + 1)
    assert 0 <= before < buckets
    assert after in {before, buckets}


def test_each_bucket_has_its_share() -> None:
    counts = [0] * 10
    for key in range(20_000):
        counts[jumped(key * 0x9E3779B97F4A7C15 & 2**64 - 1, 10)] += 1
    assert min(counts) > 1800
    assert max(counts) < 2200


def test_two_thousand_million_buckets_are_no_loop_of_as_many_steps() -> None:
    assert 0 <= jumped(12345, 2**31) < 2**31

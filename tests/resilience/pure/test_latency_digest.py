"""A percentile of the latest thousand, against sorting them."""

from __future__ import annotations

import math
import random
import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from escala.resilience.pure.latency_digest import FEWEST, SAMPLES, LatencyDigest

ERROR = 1.04 + 1e-9


def nearest_rank(samples: list[float], per_mille: int) -> float:
    return sorted(samples)[-(-len(samples) * per_mille // 1000) - 1]


def fed(per_mille: int, samples: list[float]) -> LatencyDigest:
    digest = LatencyDigest(per_mille)
    for sample in samples:
        digest.add(sample)
    return digest


@pytest.mark.parametrize(
    ("per_mille", "enough"), [(500, 20), (900, 20), (950, 20), (951, 21), (990, 100), (999, 1000)]
)
def test_says_nothing_before_one_call_can_be_expected_beyond(per_mille: int, enough: int) -> None:
    digest = fed(per_mille, [1.0] * (enough - 1))
    assert digest.value is None
    digest.add(1.0)
    assert digest.value == pytest.approx(1.0, rel=0.04)
    assert digest.count == enough


def test_the_sizes_are_what_the_docs_say() -> None:
    assert (SAMPLES, FEWEST) == (1000, 20)


@pytest.mark.parametrize(
    ("per_mille", "expected"), [(500, 50), (900, 90), (950, 95), (990, 99), (991, 100)]
)
def test_is_the_nearest_rank_rounded_up_by_at_most_a_bucket(
    per_mille: int, expected: float
) -> None:
    samples = [float(each) for each in range(1, 101)]
    random.Random(3).shuffle(samples)
    digest = fed(per_mille, samples if per_mille < 991 else samples * 10)
    assert digest.value is not None
    if per_mille == 991:
        expected = nearest_rank(samples * 10, 991)
    assert expected <= digest.value <= expected * ERROR


@pytest.mark.parametrize(("quick", "value"), [(981, 9.0), (982, 1.0)])
def test_a_rank_between_two_calls_is_the_later_one(quick: int, value: float) -> None:
    samples = [1.0] * quick + [9.0] * (991 - quick)  # 99 % of 991 are 981.09
    assert fed(990, samples).value == pytest.approx(value, rel=0.04)


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        (0.0, 1e-6),
        (1e-6, 1e-6),
        (-1.0, 1e-6),
        (1.01e-6, 1.04e-6),
        (1.04e-6, 1.04e-6),
        (1e4, 1.0365816e4),
        (1e9, 1.0365816e4),
        (math.inf, 1.0365816e4),
    ],
)
def test_the_ends_of_the_scale(sample: float, value: float) -> None:
    assert fed(950, [sample] * 20).value == pytest.approx(value, rel=1e-6)


def test_forgets_what_is_a_thousand_calls_ago() -> None:
    digest = fed(500, [9.0] * 1000)
    for _ in range(500):
        digest.add(0.001)
    assert digest.value == pytest.approx(0.001, rel=0.04)
    for _ in range(500):
        digest.add(0.001)
    assert digest.value == pytest.approx(0.001, rel=0.04)
    for _ in range(499):
        digest.add(9.0)
    assert digest.value == pytest.approx(0.001, rel=0.04)
    for _ in range(2):
        digest.add(9.0)
    assert digest.value == pytest.approx(9.0, rel=0.04)


def test_its_memory_does_not_grow() -> None:
    digest = fed(990, [])
    size = sum(sys.getsizeof(getattr(digest, name)) for name in ("_ring", "_counts"))
    rng = random.Random(1)
    for _ in range(5000):
        digest.add(rng.expovariate(10))
    assert sum(sys.getsizeof(getattr(digest, name)) for name in ("_ring", "_counts")) == size
    assert size < 4096


@given(
    st.integers(500, 999),
    st.lists(st.floats(0, 2e4), min_size=1, max_size=60),
    st.integers(1, 60),
)
def test_is_within_a_bucket_of_sorting(per_mille: int, samples: list[float], repeats: int) -> None:
    many = samples * repeats
    digest = fed(per_mille, many)
    kept = [min(max(each, 1e-6), 1e4) for each in many[-1000:]]
    if digest.value is not None:
        expected = nearest_rank(kept, per_mille)
        assert expected * (1 - 1e-9) <= digest.value <= expected * ERROR


class DigestModel(RuleBasedStateMachine):
    """Any latencies in any order, beside a sorted list of the last thousand."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = LatencyDigest(950)
        self.kept: deque[float] = deque(maxlen=SAMPLES)

    @rule(seconds=st.floats(1e-6, 1e4), times=st.integers(1, 400))
    def add(self, seconds: float, times: int) -> None:
        for _ in range(times):
            self.digest.add(seconds)
            self.kept.append(seconds)

    @precondition(lambda self: self.kept)
    @rule()
    def again(self) -> None:
        self.add(self.kept[0], 1)

    @invariant()
    def agrees(self) -> None:
        value = self.digest.value
        if len(self.kept) < 20:
            assert value is None
        else:
            expected = nearest_rank(list(self.kept), 950)
            assert value is not None
            assert expected * (1 - 1e-9) <= value <= expected * ERROR


TestDigestModel = DigestModel.TestCase

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escala.hashing.pure.digest import digest
from escala.hashing.pure.maglev_table import is_prime, maglev_table


def pseudocode(names: list[str], size: int, seed: int) -> list[str]:
    """The paper's POPULATE, with its table of permutations written out."""
    permutation = []
    for name in names:
        place = digest(name.encode(), seed)
        offset, skip = place % size, place // size % (size - 1) + 1
        permutation.append([(offset + j * skip) % size for j in range(size)])
    following, entry, filled = [0] * len(names), [-1] * size, 0
    while True:
        for i in range(len(names)):
            c = permutation[i][following[i]]
            while entry[c] >= 0:
                following[i] += 1
                c = permutation[i][following[i]]
            entry[c] = i
            following[i] += 1
            filled += 1
            if filled == size:
                return [names[each] for each in entry]


@settings(max_examples=50)
@given(
    st.sets(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=13),
    st.sampled_from([13, 31, 251]),
    st.integers(0, 2**64 - 1),
)
def test_it_is_the_papers_table(names: set[str], size: int, seed: int) -> None:
    assert maglev_table(dict.fromkeys(names, 1.0), size, seed) == pseudocode(
        sorted(names), size, seed
    )


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([1.0, 2.0, 3.0, 0.5]), min_size=1)
)
def test_each_has_its_weights_share(weights: dict[str, float]) -> None:
    counts = Counter(maglev_table(weights, 1009, 0))
    total = sum(weights.values())
    for node, weight in weights.items():
        # A round gives the heaviest one place, so no share is off by more than some turns.
        assert abs(counts[node] - 1009 * weight / total) <= len(weights)


def test_equal_nodes_differ_by_one_place() -> None:
    counts = Counter(maglev_table(dict.fromkeys("abcdefg", 2.0), 1009, 5))
    assert set(counts.values()) == {1009 // 7, 1009 // 7 + 1}


@pytest.mark.parametrize("number", [2, 3, 5, 7, 251, 65_537, 5_000_011])
def test_primes(number: int) -> None:
    assert is_prime(number)


@pytest.mark.parametrize("number", [0, 1, 4, 9, 25, 49, 65_536, 65_535])
def test_no_primes(number: int) -> None:
    assert not is_prime(number)

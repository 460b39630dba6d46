from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.ring_rule import RingRule, _arcs
from escala.hashing import HashRing

NAMES = st.sets(st.sampled_from("abcdef"), min_size=1)


@given(NAMES, NAMES, st.integers(1, 4))
def test_arcs_go_once_around_both_rings(before: set[str], after: set[str], vnodes: int) -> None:
    old, new = (HashRing(sorted(each), vnodes=vnodes) for each in (before, after))
    arcs = list(_arcs(old, new))
    ends = [end for end, _, _ in arcs]
    assert ends == sorted({*ends})
    assert ends[-1] == 2**64 - 1
    for end, source, target in arcs:
        assert source == old._owners[bisect_left(old._points, end)]
        assert target == new._owners[bisect_left(new._points, end)]
    moves = list(RingRule(old).moves(RingRule(new)))
    begins = [0, *(end + 1 for end in ends)]
    moved = sum(
        end - begin + 1
        for begin, (end, source, target) in zip(begins, arcs, strict=False)
        if source != target
    )
    assert abs(sum(move.share for move in moves) - moved / 2**64) < 1e-12

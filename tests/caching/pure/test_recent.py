"""Which versions of a key are let go, against the plainest thing that does the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.recent import Recent


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=40),
    st.integers(0, 3),
)
def test_of_each_key_the_versions_seen_last_are_kept(
    script: list[tuple[str, int]], keep: int
) -> None:
    recent: Recent[int] = Recent(keep=keep)
    order: dict[str, list[int]] = {}
    for key, version in script:
        seen = order.setdefault(key, [])
        if version in seen:
            seen.remove(version)
        seen.append(version)
        gone = seen[: max(0, len(seen) - 1 - keep)]
        del seen[: len(gone)]
        assert recent.see(key, version) == gone


def test_it_remembers_a_bounded_number_of_keys() -> None:
    recent: Recent[int] = Recent(keep=0, limit=2)
    assert [recent.see(key, 1) for key in "abcb"] == [[], [], [], []]
    assert recent.see("b", 2) == [1], "the one that came first is forgotten, and not the others"
    assert recent.see("c", 2) == [1]
    assert recent.see("a", 2) == []


def test_ten_thousand_keys_unless_told_otherwise() -> None:
    recent: Recent[int] = Recent(keep=0)
    for key in range(10_000):
        recent.see(f"{key}", 1)
    assert recent.see("0", 2) == [1]
    recent.see("one more", 1)
    assert recent.see("0", 3) == []

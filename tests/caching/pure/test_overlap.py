"""Whether a key was changed while it was being written, against a plain list of what happened."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.overlap import Overlap

steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "end", "changed"]),
        st.sampled_from("ab"),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(steps)
def test_a_write_is_alone_unless_its_key_was_changed_since_it_began(
    script: list[tuple[str, str, int]],
) -> None:
    overlap = Overlap()
    running: list[tuple[str, Any, list[bool]]] = []
    for what, key, nth in script:
        if what == "begin":
            running.append((key, overlap.begin(key), []))
        elif what == "changed":
            overlap.changed(key)
            for other, _, hit in running:
                if other == key:
                    hit.append(True)
        elif running:
            ended, crowd, hit = running.pop(nth % len(running))
            assert overlap.end(ended, crowd) is not bool(hit)
    assert len(overlap) <= len({key for key, _, _ in running})
    for key, crowd, hit in running:
        assert overlap.end(key, crowd) is not bool(hit)
    assert len(overlap) == 0, "nothing is left behind"


def test_writes_that_began_after_a_change_are_a_crowd_of_their_own() -> None:
    overlap = Overlap()
    old = overlap.begin("a")
    overlap.changed("a")
    assert len(overlap) == 0
    new = overlap.begin("a")
    assert overlap.end("a", old) is False
    assert len(overlap) == 1, "the old one has not ended the new one"
    overlap.changed("b")
    assert overlap.end("a", new) is True
    assert len(overlap) == 0

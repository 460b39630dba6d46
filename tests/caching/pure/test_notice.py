"""Signals pass through texts of a limited length, whole or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.notice import Notices, notices

LONG = b"x" * 20_000


@given(st.lists(st.binary(max_size=9000), min_size=1, max_size=5), st.integers(0, 1000))
def test_what_goes_in_comes_out(texts: list[bytes], message: int) -> None:
    pieces, whole = notices(texts, message), Notices()
    if b"".join(texts):
        assert [whole.add(each.encode()) for each in pieces][:-1] == [[]] * (len(pieces) - 1)
        assert Notices().add(pieces[0].encode()) == (texts if len(pieces) == 1 else [])
    assert all(len(each) < 8000 for each in pieces)
    assert len(set(pieces)) == len(pieces)


def test_pieces_are_full_and_put_together_in_order() -> None:
    pieces = notices([LONG, b"end"], 7)
    assert [each[:6] for each in pieces] == ["7 0 3 ", "7 1 3 ", "7 2 3 ", "7 3 3 "]
    assert [len(each) for each in pieces[:3]] == [7906] * 3
    whole = Notices()
    for _ in range(2):
        assert [whole.add(each.encode()) for each in pieces] == [[], [], [], [LONG, b"end"]]
    assert notices([]) == []


@pytest.mark.parametrize("order", [(1,), (0, 2), (0, 1, 1), (0, 0), (0, 1, 2, 2), (3,)])
def test_what_is_not_the_next_piece_is_an_error_and_then_it_goes_on(order: tuple[int, ...]) -> None:
    pieces, whole = [each.encode() for each in notices([LONG])], Notices()
    for nth in order[:-1]:
        assert whole.add(pieces[nth]) == []
    with pytest.raises(ValueError, match="expected"):
        whole.add(pieces[order[-1]])
    assert [whole.add(each) for each in pieces] == [[], [], [], [LONG]]


def test_a_piece_of_another_message_is_an_error() -> None:
    one, two, whole = notices([LONG], 1), notices([LONG], 2), Notices()
    whole.add(one[0].encode())
    with pytest.raises(ValueError, match="expected"):
        whole.add(two[1].encode())


@pytest.mark.parametrize(
    "payload", [b"", b"anew", b"0 0 0", b"0 0 0 YQ== ", b"0 a 0 YQ==", b"0 0 b YQ==", b"0 0 0 YQ"]
)
def test_what_is_none_of_ours_is_an_error(payload: bytes) -> None:
    whole = Notices()
    with pytest.raises(ValueError, match="expected"):
        whole.add(payload)
    assert whole.add(notices([b"a"])[0].encode()) == [b"a"]


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes(payloads: list[bytes]) -> None:
    whole = Notices()
    for payload in payloads:
        try:
            assert isinstance(whole.add(payload), list)
        except ValueError as error:
            assert str(error)  # noqa: PT017  either will do

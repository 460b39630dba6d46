"""What a signal says, and what none of ours is taken for."""

from __future__ import annotations

import pytest

from escala.caching.pure.signal import Signal, signal_of


def test_the_defaults_delete_everything() -> None:
    assert Signal("all") == Signal("all", "", soft=False)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        (b"a1 key 0 7 ann", Signal("key", "ann")),
        (b"a1 key 1 7 a b  c", Signal("key", "a b  c", soft=True)),
        (b"a1 tag 0 7 ", Signal("tag", "")),
        (b"a1 tag 1 7 \xd0\xba", Signal("tag", "\u043a", soft=True)),
        (b"a1 tag 0 7 \xed\xa0\x80", Signal("tag", "\ud800")),
        (b"a1 all 0 7 ", Signal("all")),
        (b"a1 all 1 7 whatever", Signal("all", soft=True)),
    ],
)
def test_what_another_says(text: bytes, signal: Signal) -> None:
    assert signal_of(text, b"b2") == signal
    assert signal_of(text, b"a1") is None
    assert signal_of(text, b"a") == signal


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a1",
        b"a1 key 0 7",
        b"a1 key 2 7 ann",
        b"a1 key  7 ann",
        b"a1 keys 0 7 ann",
        b"- epoch 0 0 ",
        b"a1 key 0 7 \xff",
    ],
)
def test_what_is_not_understood_may_mean_anything(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|decode"):
        signal_of(text, b"b2")


def test_an_error_shows_what_it_found() -> None:
    with pytest.raises(ValueError, match=r"^expected a signal, found b'what'$"):
        signal_of(b"what", b"b2")
    with pytest.raises(ValueError, match=r"^expected a key, a tag or all, found b'- epoch 0 0 '$"):
        signal_of(b"- epoch 0 0 ", b"b2")
    with pytest.raises(ValueError, match=f"found b'{'x' * 80}'$"):
        signal_of(b"x" * 81, b"b2")
    with pytest.raises(ValueError, match=f"found b'a 0 0 0 {'x' * 72}'$"):
        signal_of(b"a 0 0 0 " + b"x" * 73, b"b2")

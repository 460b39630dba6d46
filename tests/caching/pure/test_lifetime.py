"""Lifetimes: read, drawn, and written as they were read."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.caching.pure.lifetime import SPREAD, Lifetime
from escala.kernel.wrong_value import WrongValue


@pytest.mark.parametrize(
    ("given_as", "seconds", "spread"),
    [
        ("5m", 300, 0.1),
        ("5m±10%", 300, 0.1),
        ("5m+-25%", 300, 0.25),
        (" 5m ± 5% ", 300, 0.05),
        ("1s±0%", 1, 0.0),
        (90, 90, 0.1),
        (0.5, 0.5, 0.1),
        ("250ms±99%", 0.25, 0.99),
        (Lifetime("1h±2%"), 3600, 0.02),
    ],
)
def test_read(given_as: str | float | Lifetime, seconds: float, spread: float) -> None:
    lifetime = Lifetime(given_as)
    assert lifetime.seconds == pytest.approx(seconds)
    assert lifetime.spread == pytest.approx(spread)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "5",
        "-5m",
        "0s",
        0,
        -1,
        "5m±",
        "5m±x",
        "5m±100%",
        "5m±-1%",
        "±10%",
        True,
        None,
        [],
        "5m±10",
    ],
)
def test_what_is_no_lifetime(wrong: object) -> None:
    with pytest.raises(WrongValue) as error:
        Lifetime(wrong)  # type: ignore[arg-type]
    assert "a duration above zero such as '5m', or with a spread '5m±10%'" in str(error.value)
    assert error.value.__cause__ is None


def test_a_spread_is_drawn_evenly_to_both_sides() -> None:
    lifetime = Lifetime("100s±10%")
    assert lifetime.drawn(0.0) == pytest.approx(90)
    assert lifetime.drawn(0.5) == pytest.approx(100)
    assert lifetime.drawn(1.0) == pytest.approx(110)
    mean = sum(lifetime.drawn(n / 10_000) for n in range(10_000)) / 10_000
    assert mean == pytest.approx(100, abs=0.02)


def test_of_one_lifetime_come_few_different_ones() -> None:
    lifetime = Lifetime("100s")
    assert len({lifetime.drawn(n / 20_000) for n in range(20_000)}) == 513


def test_without_a_spread_it_is_exact() -> None:
    assert {Lifetime("100s±0%").drawn(n / 10) for n in range(11)} == {100.0}


def test_written_as_it_is_read() -> None:
    assert SPREAD == 0.1
    assert Lifetime(300).text == "5m±10%"
    assert repr(Lifetime("90s±5%")) == f"Lifetime({Lifetime('90s±5%').text!r})"


def test_equal_if_both_parts_are() -> None:
    assert Lifetime("5m") == Lifetime(300) == Lifetime("300s±10%")
    assert Lifetime("5m") != Lifetime("5m±9%")
    assert Lifetime("5m") != Lifetime("6m")
    assert Lifetime("5m") != "5m"
    assert hash(Lifetime("5m")) == hash(Lifetime(300))
    assert len({Lifetime("5m"), Lifetime(300), Lifetime("5m±9%")}) == 2


@given(st.floats(1e-6, 1e7), st.integers(0, 99))
def test_copied_pickled_and_read_again(seconds: float, percent: int) -> None:
    lifetime = Lifetime(f"{seconds:.6f}s±{percent}%") if seconds >= 1e-3 else Lifetime(seconds)
    again = Lifetime(lifetime.text)
    assert again.seconds == pytest.approx(lifetime.seconds)
    assert again.spread == pytest.approx(lifetime.spread)
    for other in (copy.copy(lifetime), pickle.loads(pickle.dumps(lifetime))):  # noqa: S301  our own
        assert other.text == lifetime.text


def test_its_schema_takes_what_it_reads() -> None:
    number, text = Lifetime.schema()["anyOf"]
    assert number == {"type": "number", "exclusiveMinimum": 0}
    for example in (*Lifetime.schema()["examples"], "1.5h+-3%", "5ms"):
        assert re.search(text["pattern"], example)
        Lifetime(example)
    for wrong in ("5m±", "m", "5m10%", "5m±10"):
        assert not re.search(text["pattern"], wrong)

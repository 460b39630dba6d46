from __future__ import annotations

import copy
import math
import pickle
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from escala.kernel.scalar import Scalar, decode
from escala.kernel.units import (
    Duration,
    PositiveDuration,
    PositiveShare,
    PositiveSize,
    Rate,
    Rates,
    Share,
    Size,
    rate,
    seconds,
    share,
    size,
)
from escala.kernel.writer import plain
from escala.kernel.wrong_value import WrongValue

A_CENTURY = 36_500 * 86_400


def spelled(value: object) -> str:
    return "true" if value is True else "nothing" if value is None else repr(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250ms", 0.25),
        ("7us", 0.000_007),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h", 3600.0),
        ("0.5h", 1800.0),
        ("1d", 86_400.0),
        ("36500d", A_CENTURY),
        ("0s", 0.0),
        (3, 3.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_reads_durations(text: float | str, expected: float) -> None:
    assert seconds(text) == expected
    assert type(seconds(text)) is float
    assert isinstance(Duration(text), Duration)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("3 parsecs", "'3 parsecs'"),
        ("", "''"),
        ("s", "'s'"),
        ("5", "'5'"),
        ("-1s", "'-1s'"),
        ("1S", "'1S'"),
        (" 1s", "' 1s'"),
        ("1s\n", r"'1s\n'"),
        ("1e3s", "'1e3s'"),
        (".5s", "'.5s'"),
        ("1.s", "'1.s'"),
        ("1,5s", "'1,5s'"),
        ("1h30m", "'1h30m'"),
        ("nan", "'nan'"),
        ("infs", "'infs'"),
        ("٣s", "'٣s'"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (-1, "-1"),
        (-0.001, "-0.001"),
        (True, "true"),
        (None, "nothing"),
        ([], "an empty list"),
        ([1], "a list"),
        ({}, "a mapping"),
        (b"1s", "b'1s'"),
    ],
)
def test_refuses_what_is_no_duration(value: object, found: str) -> None:
    with pytest.raises(WrongValue) as caught:
        Duration(value)  # type: ignore[arg-type]
    expected = "expected a duration such as '250ms', '2s' or '5m'; found "
    assert str(caught.value) == expected + found
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("36501d", "'36501d'"),
        ("9" * 80 + "s", "'" + "9" * 56 + "..."),
        (A_CENTURY + 1, "3153600001"),
    ],
)
def test_says_what_is_too_long(value: float | str, found: str) -> None:
    for kind in (Duration, PositiveDuration):
        with pytest.raises(WrongValue) as caught:
            kind(value)
        expected = "expected a duration of at most a century (36500d), found "
        assert str(caught.value) == expected + found


def test_refuses_numbers_beyond_any_use() -> None:
    for kind in (Duration, Rate, Size, Share):
        for value, found in (
            (10**400, "1" + "0" * 56 + "..."),
            (10**5000, "a number out of range"),
        ):
            with pytest.raises(WrongValue) as caught:
                kind(value)
            assert caught.value.found == found


@pytest.mark.parametrize(
    ("text", "count", "per", "per_second"),
    [
        ("100/min", 100, 60, 100 / 60),
        ("100/m", 100, 60, 100 / 60),
        ("200/s", 200, 1, 200.0),
        ("10/30s", 10, 30, 1 / 3),
        ("1/500ms", 1, 0.5, 2.0),
        ("0.5/s", 0.5, 1, 0.5),
        ("3/1.5h", 3, 5400, 1 / 1800),
        ("5/d", 5, 86_400, 5 / 86_400),
        (20, 20, 1, 20.0),
        (0.1, 0.1, 1, 0.1),
    ],
)
def test_reads_rates(text: float | str, count: float, per: float, per_second: float) -> None:
    read = rate(text)
    assert (read.count, read.per, read.per_second) == (count, per, per_second)
    assert rate(read) == read


@pytest.mark.parametrize(
    ("value", "each", "text"),
    [
        ("10/s", ["10/s"], "10/s"),
        ("10/s; 1000/h", ["10/s", "1000/h"], "10/s; 1000/h"),
        ("10/1s;1000/60m ;  2/500ms", ["10/s", "1000/h", "2/500ms"], "10/s; 1000/h; 2/500ms"),
        ("1/s;" * 7 + "1/s", ["1/s"] * 8, "; ".join(["1/s"] * 8)),
        (5, ["5/s"], "5/s"),
        (0.5, ["0.5/s"], "0.5/s"),
        (Rate("3/min"), ["3/min"], "3/min"),
        (Rates("3/min; 4/h"), ["3/min", "4/h"], "3/min; 4/h"),
    ],
)
def test_reads_several_rates(value: Any, each: list[str], text: str) -> None:
    rates = Rates(value)
    assert rates.each == tuple(map(Rate, each))
    assert rates.text == text
    assert rates == Rates(text)
    assert hash(rates) == hash(Rates(text))
    assert repr(rates) == f"Rates({text!r})"
    assert pickle.loads(pickle.dumps(rates)) == copy.deepcopy(rates) == rates  # noqa: S301  ours
    assert rates != Rates("7/s")
    assert rates != text
    schema = Draft202012Validator(Rates.schema())
    assert schema.is_valid(text)


@pytest.mark.parametrize(
    "value",
    ["", ";", "10/s;", ";10/s", "10/s;;1/h", "10/s, 1/h", "10/s; 0/h", "1/s;" * 8 + "1/s",
     "10/s;\t1/h", "1/s\n", 0, -1, math.nan, math.inf, True, None, ["1/s"]],
)  # fmt: skip
def test_refuses_what_are_no_rates(value: object) -> None:
    with pytest.raises(WrongValue) as caught:
        Rates(value)  # type: ignore[arg-type]
    assert caught.value.expected == ("a rate such as '100/min', or several such as '10/s; 1000/h'")
    if isinstance(value, str) and "0/h" not in value and value.isprintable():
        assert not Draft202012Validator(Rates.schema()).is_valid(value)


@pytest.mark.parametrize(
    "value",
    ["100", "100/", "/s", "100/parsec", "0/s", "1/0s", "-1/s", "1/-1s", "1/s/s", "1 / s", "", "x/s",
     "1/36501d", "1/0.1us", "1000000000000001/s", 0, -1, math.nan, math.inf, True, None, "1/٣s"],
)  # fmt: skip
def test_refuses_what_is_no_rate(value: object) -> None:
    with pytest.raises(ValueError) as caught:
        Rate(value)  # type: ignore[arg-type]
    found = spelled(value)
    assert str(caught.value) == (
        f"expected a rate such as '100/min', '200/s' or '10/30s'; found {found}"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512B", 512),
        ("10kB", 10_000),
        ("1MB", 10**6),
        ("1GB", 10**9),
        ("2TB", 2 * 10**12),
        ("1KiB", 1024),
        ("64MiB", 64 * 1024**2),
        ("1.5GiB", 1536 * 1024**2),
        ("1TiB", 1024**4),
        ("0B", 0),
        (4096, 4096),
        (2**63 - 1, 2**63 - 1),
        ("9223372036854775807B", 2**63 - 1),
        (1e6, 1_000_000),
    ],
)
def test_reads_sizes(text: float | str, expected: int) -> None:
    assert size(text) == expected
    assert type(size(text)) is int


@pytest.mark.parametrize(
    "value",
    ["64", "64mib", "64MB ", "64KB", "64K", "0.5B", "1.0001KiB", "-1B", "", "B", "8388608TiB",
     2**63, "9223372036854775808B", -1, 0.5, math.nan, math.inf, True, None],
)  # fmt: skip
def test_refuses_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError) as caught:
        Size(value)  # type: ignore[arg-type]
    found = spelled(value)
    assert str(caught.value) == f"expected a size such as '64MiB', '10kB' or '512B'; found {found}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20%", 0.2), ("0%", 0.0), ("100%", 1.0), ("0.1%", 0.001), (0.2, 0.2), (0, 0.0), (1, 1.0)],
)
def test_reads_shares(text: float | str, expected: float) -> None:
    assert share(text) == expected
    assert type(share(text)) is float


@pytest.mark.parametrize(
    "value",
    ["20", "101%", "-1%", "%", "", "20 %", "20%%", 21, 1.01, -0.1, math.nan, math.inf, True, None],
)
def test_refuses_what_is_no_share(value: object) -> None:
    with pytest.raises(ValueError) as caught:
        Share(value)  # type: ignore[arg-type]
    found = spelled(value)
    assert str(caught.value) == (
        f"expected a share from 0 to 1 such as '20%' or 0.2, found {found}"
    )


@pytest.mark.parametrize(
    ("kind", "zero", "expected"),
    [
        (PositiveDuration, "0s", "a duration above zero such as '250ms', '2s' or '5m'; found '0s'"),
        (PositiveDuration, 0, "a duration above zero such as '250ms', '2s' or '5m'; found 0"),
        (PositiveSize, "0B", "a size above zero such as '64MiB', '10kB' or '512B'; found '0B'"),
        (PositiveShare, "0%", "a share above 0 and up to 1 such as '20%' or 0.2, found '0%'"),
        (PositiveShare, -0.0, "a share above 0 and up to 1 such as '20%' or 0.2, found -0.0"),
    ],
)
def test_positive_types_refuse_zero(kind: type[Scalar], zero: object, expected: str) -> None:
    with pytest.raises(WrongValue, match=f"^expected {re.escape(expected)}$"):
        kind(zero)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Duration("250ms"), "250ms"),
        (Duration(90), "90s"),
        (Duration(60), "1m"),
        (Duration("5400s"), "90m"),
        (Duration("48h"), "2d"),
        (Duration(0), "0s"),
        (Duration(1e-9), "0.000000001s"),
        (Duration(1 / 3), "0.3333333333333333s"),
        (Rate("200/s"), "200/s"),
        (Rate("100/60s"), "100/min"),
        (Rate("1/1h"), "1/h"),
        (Rate("1/24h"), "1/d"),
        (Rate("10/30s"), "10/30s"),
        (Rate(0.5), "0.5/s"),
        (Rate("1000000000000000/s"), "1000000000000000/s"),
        (Size(0), "0B"),
        (Size(1500), "1500B"),
        (Size(10_000), "10kB"),
        (Size(1024), "1KiB"),
        (Size(64 * 1024**2), "64MiB"),
        (Size(10**9), "1GB"),
        (Share("20%"), "20%"),
        (Share(0.125), "12.5%"),
        (Share(0), "0%"),
        (Share(1), "100%"),
        (Share(1 / 3), "33.33333333333333%"),
    ],
    ids=repr,
)
def test_spells_values_the_way_people_do(value: Scalar, text: str) -> None:
    assert value.text == text


def test_positive_types_take_the_smallest_there_is() -> None:
    assert PositiveSize(1) == 1
    for kind in (PositiveDuration, PositiveShare):
        assert kind(5e-324) == 5e-324
        assert not Draft202012Validator(kind.schema()).is_valid(0)


def test_text_of_any_length_is_bounded() -> None:
    assert seconds("0" * 398 + "1s") == 1.0
    with pytest.raises(WrongValue):
        seconds("0" * 399 + "1s")


def test_there_is_one_zero() -> None:
    assert math.copysign(1, Duration(-0.0)) == 1
    assert math.copysign(1, Share(-0.0)) == 1


@given(st.floats(min_value=0, max_value=A_CENTURY))
def test_a_duration_reads_back_from_its_text(value: float) -> None:
    assert Duration(Duration(value).text) == value


@given(st.integers(0, 10**9), st.sampled_from([("us", 10**6), ("ms", 1000), ("s", 1)]))
def test_a_duration_is_rounded_once(count: int, unit: tuple[str, int]) -> None:
    assert seconds(f"{count}{unit[0]}") == count / unit[1]


@given(st.floats(min_value=1e-9, max_value=1e15), st.floats(min_value=1e-6, max_value=A_CENTURY))
def test_a_rate_reads_back_from_its_text(count: float, per: float) -> None:
    read = Rate(f"{Decimal(count):f}/{Decimal(per):f}s")
    assert (read.count, read.per) == (count, per)
    assert read.per_second == count / per
    assert Rate(read.text) == read


@given(st.integers(0, 2**63 - 1))
def test_a_size_reads_back_from_its_text(count: int) -> None:
    assert Size(Size(count).text) == count


@given(st.floats(min_value=0, max_value=1))
def test_a_share_reads_back_from_its_text(part: float) -> None:
    assert Share(Share(part).text) == part


@given(st.integers(0, 10_000))
def test_percents_are_rounded_once(hundredths: int) -> None:
    percent = f"{hundredths // 100}.{hundredths % 100:02}%"
    assert share(percent) == hundredths / 10_000


@given(st.text(max_size=30) | st.from_regex(r"[0-9.]{0,5}/?[0-9]{0,3}[a-zA-Z%]{0,4}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (Duration, Rate, Size, Share):
        with suppress(WrongValue):
            value: Any = kind(text)
            assert kind(value.text) == value


class Options(msgspec.Struct, frozen=True):
    after: Duration
    limit: Rate
    room: Size
    part: Share
    pause: PositiveDuration | None = None


def test_the_types_work_in_structs() -> None:
    values: dict[str, Any] = {"after": "5m", "limit": "100/min", "room": "64MiB", "part": "20%"}
    read = msgspec.convert(values, Options, dec_hook=decode)
    assert read == Options(
        after=Duration(300), limit=Rate("100/min"), room=Size(2**26), part=Share(0.2)
    )
    assert plain(read) == {**values, "pause": None}


TYPES: list[type[Any]] = [
    *(Duration, PositiveDuration, Rate, Size, PositiveSize, Share, PositiveShare)
]
NUMBERS = st.sampled_from([-1, 0, 1, 2, 0.5, 1.5, 5e-324]) | st.floats(0, 2) | st.integers(0, 10**9)
TEXTS = st.from_regex(
    r"(|-| )[0-9]{0,3}(\.[0-9]{0,2})?(/[0-9]{0,2})?(us|ms|s|m|min|h|d|B|kB|KB|MiB|GB|%|x)( |\n|)",
    fullmatch=True,
)


@given(st.sampled_from(TYPES), NUMBERS | TEXTS)
def test_the_schema_takes_what_the_type_takes(kind: type[Any], value: float | str) -> None:
    fits = Draft202012Validator(kind.schema()).is_valid(value)
    try:
        kind(value)
    except WrongValue:
        # A pattern cannot tell that text means zero, part of a byte, or more than the whole.
        assert not fits or (isinstance(value, str) and re.fullmatch(r"[0-9./a-zA-Z%]+\n?", value))
    else:
        assert fits


@pytest.mark.parametrize("kind", TYPES)
def test_the_schema_takes_its_own_examples(kind: type[Any]) -> None:
    number, text = kind.schema()["anyOf"]
    assert set(number) >= {"type"}
    assert text["examples"]
    for example in text["examples"]:
        assert kind(example)
        assert re.fullmatch(text["pattern"], example)


def test_units_are_numbers_values_and_keys() -> None:
    assert Duration("2s") * 2 == 4.0
    assert f"{Duration('250ms')}" == "0.25"
    assert {Rate("60/min"): 1}[Rate("60/60s")] == 1
    assert Rate("60/min") != Rate("1/s")
    assert Rate("1/s") != "1/s"
    assert repr(Rate("60/60s")) == "Rate('60/min')"


@pytest.mark.parametrize(
    "value", [Duration("5m"), Rate("10/30s"), Rate(1 / 3), Size("1kB"), Share("20%")], ids=repr
)
def test_units_survive_pickle_and_copy(value: Scalar) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):  # noqa: S301  our own bytes
        assert twin == value
        assert type(twin) is type(value)


def test_rates_do_not_change() -> None:
    with pytest.raises(AttributeError):
        Rate("1/s").count = 5  # type: ignore[misc]

"""How a breaker's window and its statuses are spelled, in code and in `stack.yaml`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from escala.kernel.schema import schema
from escala.kernel.writer import plain
from escala.kernel.wrong_value import WrongValue
from escala.resilience import CircuitBreaker
from escala.resilience.breaker_options import BreakerOptions
from escala.resilience.breaker_window import BreakerWindow
from escala.resilience.failure_status import FailureStatus


@pytest.mark.parametrize(
    ("value", "seconds", "calls", "text"),
    [
        ("10s", 10.0, None, "10s"),
        ("1m", 60.0, None, "1m"),
        (2.5, 2.5, None, "2500ms"),
        (7, 7.0, None, "7s"),
        ("1 call", None, 1, "1 call"),
        ("1 calls", None, 1, "1 call"),
        ("100 calls", None, 100, "100 calls"),
        ("99999 calls", None, 99_999, "99999 calls"),
        (BreakerWindow("5 calls"), None, 5, "5 calls"),
        (BreakerWindow("5s"), 5.0, None, "5s"),
    ],
    ids=repr,
)
def test_windows(value: Any, seconds: float | None, calls: int | None, text: str) -> None:
    window = BreakerWindow(value)
    assert (window.seconds, window.calls, window.text) == (seconds, calls, text)
    assert repr(window) == f"BreakerWindow({text!r})"
    for same in (BreakerWindow(text), copy.copy(window), pickle.loads(pickle.dumps(window))):  # noqa: S301
        assert same == window
        assert hash(same) == hash(window)


@pytest.mark.parametrize(
    "value",
    [
        *("", "calls", "0 calls", "01 calls", "1.5 calls", "100000 calls", "5 calls ", "5  calls"),
        *("0s", "-1s", "ten", 0, -1, float("nan"), True, None, [5], "9" * 10_000 + " calls"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_window(value: Any) -> None:
    with pytest.raises(WrongValue, match="expected a duration above zero such as '10s', or"):
        BreakerWindow(value)


def test_a_time_is_not_a_number_of_calls() -> None:
    assert BreakerWindow("5s") != BreakerWindow("5 calls")
    assert BreakerWindow("5s") != 5.0


@pytest.mark.parametrize(
    ("value", "inside", "outside", "text"),
    [
        (503, [503], [502, 504, "503"], "503"),
        ("503", [503], [502, 504], "503"),
        ("500..504", [500, 504], [499, 505, "UNAVAILABLE"], "500..504"),
        ("500..500", [500], [499, 501], "500..500"),
        ("100..599", [100, 599], [99, 600], "100..599"),
        ("UNAVAILABLE", ["UNAVAILABLE"], ["INTERNAL", 503, "UNAVAIL"], "UNAVAILABLE"),
        (FailureStatus("OK"), ["OK"], [200], "OK"),
    ],
    ids=repr,
)
def test_statuses(value: Any, inside: list[Any], outside: list[Any], text: str) -> None:
    status = FailureStatus(value)
    assert [each in status for each in inside] == [True] * len(inside)
    assert [each in status for each in outside] == [False] * len(outside)
    assert (status.text, repr(status)) == (text, f"FailureStatus({text!r})")
    for same in (FailureStatus(text), copy.copy(status), pickle.loads(pickle.dumps(status))):  # noqa: S301
        assert same == status
        assert hash(same) == hash(status)
    assert status != text


@pytest.mark.parametrize(
    "value",
    [
        *("", "5xx", "99", 99, 600, "600", "504..500", "500..", "500...504", "unavailable", True),
        *(None, 503.0, [503], "500..600", "1" * 10_000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_status(value: Any) -> None:
    with pytest.raises(WrongValue, match="expected an HTTP status, a range of them or a gRPC"):
        FailureStatus(value)


def test_the_schema_takes_what_the_options_take() -> None:
    validator = Draft202012Validator(schema(BreakerOptions, title="breaker"))
    written = plain(
        CircuitBreaker(
            failure_rate=None,
            window="100 calls",
            consecutive=5,
            slow="2s",
            cooldown_cap="1m",
            statuses=["500..504", 429, "UNAVAILABLE"],
            key="host",
            mode="shadow",
        ).options
    )
    assert (written["window"], written["statuses"]) == (
        "100 calls",
        ["500..504", "429", "UNAVAILABLE"],
    )
    validator.validate(written)
    for field, value in {
        "window": "0 calls",
        "statuses": ["5xx"],
        "mode": "on",
        "consecutive": 0,
    }.items():
        assert not validator.is_valid({field: value}), field
        assert validator.is_valid({field: written[field]}), field

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.gateway.pure.client_address import TrustedProxies

OURS = TrustedProxies(["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        ("10.0.0.1", ["9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6, 9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6, 9.9.9.9, 10.2.3.4"], "9.9.9.9"),
        ("10.0.0.1", ["6.6.6.6", "9.9.9.9", "10.2.3.4"], "9.9.9.9"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["9.9.9.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["9.9.9.9, _hidden, 10.0.0.3"], "10.0.0.3"),
        ("8.8.8.8", ["9.9.9.9"], "8.8.8.8"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("unix", ["9.9.9.9"], "unix"),
    ],
)
def test_read_from_the_right_as_far_as_trusted(peer: str, values: list[str], client: str) -> None:
    assert OURS.client(peer, values) == client


def test_no_one_is_trusted_by_default() -> None:
    nobody = TrustedProxies([])
    assert not nobody
    assert nobody.client("10.0.0.1", ["9.9.9.9"]) == "10.0.0.1"
    assert OURS


@given(st.lists(st.text(max_size=30), max_size=5))
def test_what_a_stranger_writes_never_matters(values: list[str]) -> None:
    assert OURS.client("8.8.8.8", values) == "8.8.8.8"


@given(st.lists(st.text(max_size=30), max_size=5))
def test_what_stands_left_of_the_client_never_matters(values: list[str]) -> None:
    assert OURS.client("10.0.0.1", [*values, "9.9.9.9"]) == "9.9.9.9"

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escala.databases.pure.synchronous_names import SynchronousNames, quoted, read_names
from escala.errors import ConfigError

GOOD = {
    "n1": (True, 1, ("n1",)),
    "n1,n2": (True, 1, ("n1", "n2")),
    "2 (n1, n2)": (True, 2, ("n1", "n2")),
    "2(n1,n2)": (True, 2, ("n1", "n2")),
    "FIRST 12 (n1)": (True, 12, ("n1",)),
    "any 1 (\tn1\n, N2 )": (False, 1, ("n1", "n2")),
    "*": (True, 1, ("*",)),
    "ANY 1 (*)": (False, 1, ("*",)),
    '"a ""b"" (c", _d$9': (True, 1, ('a "b" (c', "_d$9")),
    '"any"': (True, 1, ("any",)),
    "7": (True, 1, ("7",)),
    "1, 2": (True, 1, ("1", "2")),
    "ANY 1 (3)": (False, 1, ("3",)),
    "anyone": (True, 1, ("anyone",)),
    "Zürich": (True, 1, ("zürich",)),
}
WRONG = (
    " ",
    "n1,",
    ",n1",
    "n1 n2",
    "n1; n2",
    "eu-1",
    "any",
    "ANY n1",
    "ANY (n1)",
    "ANY 1 n1",
    "ANY 1 (n1",
    "ANY 1 n1)",
    "ANY x (n1)",
    "1 (n1",
    "1 (n1) n2",
    "n1 (n2)",
    "FIRST 0 (n1)",
    "0 (n1)",
    "ANY 1 ()",
    "ANY 1 (n1,)",
    "ANY 1 (n1 n2)",
    "ANY 1 (ANY 1 (n1))",
    "ANY 1 (first)",
    "ANY",
    "ANY 1",
    '"open',
    "(n1)",
    "n1)",
)


@pytest.mark.parametrize("text", GOOD)
def test_what_is_read(text: str) -> None:
    assert read_names(text) == SynchronousNames(*GOOD[text])


def test_nothing_asks_for_no_standby() -> None:
    assert read_names("") is None


@pytest.mark.parametrize("text", WRONG)
def test_what_postgresql_refuses_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^synchronous_standby_names: expected"):
        read_names(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n1", "n1"),
        ("_a$1", "_a$1"),
        ("ANY", '"ANY"'),
        ("First", '"First"'),
        ("anyone", "anyone"),
        ("1a", '"1a"'),
        ("$a", '"$a"'),
        ("eu-1", '"eu-1"'),
        ('a"b', '"a""b"'),
        ("", '""'),
    ],
)
def test_names_are_quoted_where_they_have_to_be(name: str, text: str) -> None:
    assert quoted(name) == text


@given(st.lists(st.text(min_size=1), min_size=1), st.integers(1, 99), st.booleans())
def test_a_list_that_is_written_is_read(names: list[str], count: int, first: bool) -> None:
    text = f"{'FIRST' if first else 'ANY'} {count} ({', '.join(map(quoted, names))})"
    lowered = tuple(name.lower() for name in names)
    assert read_names(text) == SynchronousNames(first, count, lowered)

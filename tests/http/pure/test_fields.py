from __future__ import annotations

import pytest

from escala.http.pure.fields import balanced, elements, end_to_end, field, names_in, unquoted


def test_lines_of_one_field_are_one_list() -> None:
    headers = [(b"a", b"1"), (b"b", b"x"), (b"a", b"2")]
    assert field(headers, b"a") == b"1, 2"
    assert field(headers, b"b") == b"x"
    assert field(headers, b"c") is None
    assert field([(b"a", b"")], b"a") == b""


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"a, b", [b"a", b"b"]),
        (b",, a ,\t,b,", [b"a", b"b"]),
        (b'a="x,y", b', [b'a="x,y"', b"b"]),
        (rb'"x\",y", b', [rb'"x\",y"', b"b"]),
        (b'"x, b', [b'"x, b']),
        (b"", []),
    ],
)
def test_members_of_a_list(value: bytes, members: list[bytes]) -> None:
    assert elements(value) == members


def test_quotes() -> None:
    assert balanced(b'a="b", "c"')
    assert balanced(rb'"\""')
    assert not balanced(b'a="b')
    assert not balanced(rb'"\"')
    assert unquoted(rb'"a\"b"') == b'a"b'
    assert unquoted(b"token") == b"token"
    assert unquoted(b"no token") is None
    assert unquoted(b"") is None
    assert unquoted(b'"a"b') is None


def test_names_are_lower_cased_and_unique() -> None:
    assert names_in(b"Accept , accept, X") == (b"accept", b"x")


def test_hop_by_hop_fields_are_not_stored() -> None:
    headers = [
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"keep-alive", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"proxy-authenticate", b"Basic"),
        (b"upgrade", b"h2c"),
        (b"age", b"1"),
        (b"x-end", b"2"),
    ]
    assert end_to_end(headers, without={b"age"}) == [(b"x-end", b"2")]

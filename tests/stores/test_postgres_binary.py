"""Values as PostgreSQL has them, held against how psycopg writes them."""

from __future__ import annotations

import pytest
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.array import ListBinaryDumper

from escala.stores.postgres_binary import BYTEA, FLOAT, FLOAT8, LONG, array, bools, floats


def as_psycopg(items: list[object]) -> bytes:
    dumper = Transformer().get_dumper(items, PyFormat.BINARY)
    assert isinstance(dumper, ListBinaryDumper)
    return bytes(dumper.dump(items) or b"")


def test_arrays_are_as_psycopg_writes_them() -> None:
    assert array(BYTEA, [b"", b"ab", None, b"\0"]) == as_psycopg([b"", b"ab", None, b"\0"])
    assert array(BYTEA, [b"a"]) == as_psycopg([b"a"])
    assert floats([0.5, -1e300, float("inf")]) == as_psycopg([0.5, -1e300, float("inf")])
    assert bools([True, False]) == as_psycopg([True, False])


@pytest.mark.parametrize("kind", [BYTEA, FLOAT8])
def test_an_empty_array_has_no_sides(kind: int) -> None:
    assert array(kind, []) == b"\0" * 8 + kind.to_bytes(4, "big")


def test_numbers() -> None:
    assert FLOAT.pack(1.0) == b"\x3f\xf0" + b"\0" * 6
    assert LONG.unpack(b"\0" * 7 + b"\5") == (5,)

from __future__ import annotations

import sys
import types

import pytest
import xxhash

from escala.hashing.pure.digest import agrees, digest, fastest
from escala.hashing.pure.xxh3 import xxh3

LENGTHS = (0, 3, 8, 16, 100, 200, 300)


def test_the_package_is_used_where_it_is_installed() -> None:
    assert digest is fastest() is xxhash.xxh3_64_intdigest


def test_python_does_it_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xxhash", None)
    assert fastest() is xxh3


@pytest.mark.parametrize("length", LENGTHS)
def test_a_package_that_gives_other_values_is_not_used(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draft(data: bytes, seed: int = 0) -> int:
        return xxh3(data, seed) ^ (len(data) == length)

    assert not agrees(draft)
    package = types.ModuleType("xxhash")
    package.xxh3_64_intdigest = draft  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xxhash", package)
    assert fastest() is xxh3


def test_a_package_that_forgets_the_seed_is_not_used() -> None:
    assert not agrees(lambda data, _seed: xxh3(data, 0))
    assert agrees(xxh3)

from __future__ import annotations

from collections import Counter

import pytest
from tests.hashing.maps import KEYS, named

from escala.errors import ConfigError
from escala.hashing import Maglev
from escala.hashing.pure.digest import digest
from escala.hashing.pure.maglev_table import maglev_table


def test_a_key_is_looked_up_in_the_table() -> None:
    maglev = Maglev(["a", "b", "c"], size=31, seed=4)
    table = maglev_table({"a": 1.0, "b": 1.0, "c": 1.0}, 31, 4)
    for key in KEYS:
        place = digest(key.encode(), 4) % 31
        assert maglev.node(key) == maglev.node(key.encode()) == table[place]


def test_keys_are_spread_evenly_over_a_hundred_nodes() -> None:
    maglev = Maglev(named(100))
    table = Counter(maglev._table)
    assert max(table.values()) - min(table.values()) == 1


def test_few_keys_of_others_move_when_a_node_leaves() -> None:
    maglev = Maglev(named(10), size=10_007)
    gone = named(10)[3]
    less = maglev.without_node(gone)
    pairs = [(a, b) for a, b in zip(maglev._table, less._table, strict=True) if a != b]
    needless = [old for old, _ in pairs if old != gone]
    assert len(pairs) - len(needless) == maglev._table.count(gone)
    assert len(needless) < 0.05 * 10_007


def test_changes_give_the_table_of_those_nodes() -> None:
    maglev = Maglev(["a", "b"], size=31, seed=2)
    assert maglev.with_node("c") == Maglev(["c", "b", "a"], size=31, seed=2)
    assert maglev.with_node("c")._table == Maglev(["c", "b", "a"], size=31, seed=2)._table
    assert maglev.with_weight("a", 2).nodes == {"a": 2, "b": 1}
    assert maglev.with_node("c", 3).without_node("a").nodes == {"b": 1, "c": 3}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 65_536}, "size: expected a prime number, found 65536"),
        ({"size": 2}, "size: expected a whole number from 3 to 5000011, found 2"),
        ({"size": 5_000_039}, "size: expected a whole number from 3 to 5000011, found 5000039"),
        ({"size": 3}, "nodes: expected at most 3, the size of the table, found 4"),
        ({"seed": 2**64}, "seed: expected a whole number from 0 to"),
    ],
    ids=str,
)
def test_what_makes_no_table(options: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Maglev(["a", "b", "c", "d"], **options)
    assert str(caught.value).startswith(f"Maglev: {text}")


def test_another_hash_is_refused() -> None:
    saved = Maglev(["a"], size=3).to_json().replace("xxh3", "md5")
    with pytest.raises(ConfigError, match="Maglev: hash: expected 'xxh3', found 'md5'"):
        Maglev.from_json(saved)

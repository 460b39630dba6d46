"""One of ten nodes gets twice the weight, or leaves: which keys move that need not?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import uhashring

from escala import HashRing, Maglev, Rendezvous, SlotMap

NODES = [f"10.0.0.{number}" for number in range(10)]
CHANGED = NODES[3]
EVEN, HEAVIER = dict.fromkeys(NODES, 1), {**dict.fromkeys(NODES, 1), CHANGED: 2}
KEYS = [f"user:{number}" for number in range(20_000)]
IDEAL = 2 / 11 - 1 / 10  # what the heavier node lacks

Look = Callable[[str], str | None]


def moves(before: Look, after: Look) -> tuple[float, float]:
    """The share of keys that move, and of those that move between nodes that did not change."""
    pairs = [(before(key), after(key)) for key in KEYS]
    moved = [pair for pair in pairs if pair[0] != pair[1]]
    return len(moved) / len(KEYS), sum(CHANGED not in pair for pair in moved) / len(KEYS)


def ketama(weights: dict[str, int]) -> Look:
    get: Look = uhashring.HashRing(weights, hash_fn="ketama").get_node
    return get


def test_uhashring_ketama_moves_keys_of_nodes_that_did_not_change() -> None:
    moved, needless = moves(ketama(EVEN), ketama(HEAVIER))
    assert moved > 1.4 * IDEAL
    assert needless > 0.3 * moved


def test_libmemcached_does_so_too_and_so_does_the_mode_that_is_like_it() -> None:
    before, after = HashRing(EVEN, hash="ketama"), HashRing(HEAVIER, hash="ketama")
    assert moves(before.node, after.node) == moves(ketama(EVEN), ketama(HEAVIER))
    assert [before.node(key) for key in KEYS] == list(map(ketama(EVEN), KEYS))
    assert [after.node(key) for key in KEYS] == list(map(ketama(HEAVIER), KEYS))


def test_uhashring_hashes_the_port_that_libmemcached_leaves_out() -> None:
    with_ports = [f"{node}:11211" for node in NODES]
    theirs = ketama(dict.fromkeys(with_ports, 1))
    ours = HashRing(with_ports, hash="ketama")
    without = HashRing(NODES, hash="ketama")
    places = [ours.node(key).removesuffix(":11211") for key in KEYS]
    assert places == [without.node(key) for key in KEYS]
    elsewhere = sum(theirs(key) != ours.node(key) for key in KEYS)
    assert elsewhere > 0.8 * len(KEYS)


@pytest.mark.parametrize("made", [HashRing, SlotMap, Rendezvous], ids=lambda made: made.__name__)
def test_escala_moves_keys_of_the_changed_node_only(made: Callable[..., HashRing]) -> None:
    before = made(EVEN)
    moved, needless = moves(before.node, before.with_weight(CHANGED, 2).node)
    assert needless == 0
    assert moved == pytest.approx(IDEAL, rel=0.15)
    moved, needless = moves(before.node, before.without_node(CHANGED).node)
    assert needless == 0
    assert moved == pytest.approx(1 / 10, rel=0.15)


def test_slots_move_exactly_as_few_as_can_be() -> None:
    before = SlotMap(EVEN)
    for after in (before.with_weight(CHANGED, 2), before.without_node(CHANGED)):
        had, has = counts(before, NODES), counts(after, NODES)
        least = sum(max(0, more - less) for more, less in zip(has, had, strict=True))
        assert len(before.plan(after)) == least


def counts(slots: SlotMap, nodes: Iterable[str]) -> list[int]:
    return [len(slots.slots_of(node)) for node in nodes]


def test_maglev_moves_a_few_of_others_as_its_paper_says() -> None:
    before = Maglev(EVEN)
    moved, needless = moves(before.node, before.without_node(CHANGED).node)
    assert 0 < needless < 0.05
    assert moved < 0.16

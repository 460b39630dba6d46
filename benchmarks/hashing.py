"""Measure what it costs to find the node of a key, and to add a node, beside uhashring."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.caching import keyed, names
from benchmarks.calls import Case, take_turns, to_fastest
from benchmarks.progress import say
from benchmarks.report import BenchmarkError, Goal, Report

if TYPE_CHECKING:
    from collections.abc import Callable

GOALS = {
    "slot_map.ns": Goal(most=150),
    "hash_ring.ns": Goal(most=500),
    "slot_map.uhashring_to_it": Goal(least=4),
    "hash_ring.uhashring_to_it": Goal(least=4),
    "hash_ring.add_node_100x512.ms": Goal(most=50),
}
KEYS, NODES, MANY, VNODES = 10_000, 10, 100, 512
REPEATS, QUICK_REPEATS = 9, 3


def measure(*, quick: bool) -> Report:
    """Time look-ups and changes in CPU time."""
    report = Report()
    say(f"look-ups of {KEYS:,} keys among {NODES} nodes")
    cases = [_case(name, node) for name, node in lookups().items()]
    try:
        cases += [_case(name, node) for name, node in peers().items()]
    except ImportError as error:
        report.absent["uhashring"] = str(error)
    figures = take_turns(cases, quick=quick)
    for name, values in figures.items():
        report.spread(f"{name}.ns", [value * 1000 for value in values])
    if "peer.uhashring" in figures:
        for ours in ("slot_map", "hash_ring"):
            ratios = to_fastest("peer.uhashring", figures, [ours])
            report.spread(f"{ours}.uhashring_to_it", ratios)
    say(f"one node more than {MANY}")
    _changes(report, QUICK_REPEATS if quick else REPEATS)
    return report


def addresses(count: int) -> list[str]:
    """Name nodes as a fleet does."""
    return [f"10.0.{number // 100}.{number % 100}:6379" for number in range(count)]


def lookups() -> dict[str, Callable[[str], object]]:
    """Make ours, each ready to be asked."""
    from escala import HashRing, Maglev, Rendezvous, SlotMap, jump_hash

    nodes = addresses(NODES)
    return {
        "slot_map": SlotMap(nodes).node,
        "slot_map.redis": SlotMap(nodes, hash="redis").node,
        "hash_ring": HashRing(nodes).node,
        "hash_ring.100_nodes": HashRing(addresses(MANY)).node,
        "hash_ring.ketama": HashRing(nodes, hash="ketama").node,
        "maglev": Maglev(nodes).node,
        "rendezvous": Rendezvous(nodes).node,
        "rendezvous.weighted": Rendezvous({**dict.fromkeys(nodes, 1), nodes[0]: 2}).node,
        "jump_hash": lambda key: jump_hash(key, NODES),
    }


def peers() -> dict[str, Callable[[str], object]]:
    """Make uhashring's two rings."""
    from uhashring import HashRing

    nodes = addresses(NODES)
    return {
        "peer.uhashring": HashRing(nodes, vnodes=VNODES, hash_fn=None).get_node,
        "peer.uhashring.ketama": HashRing(nodes, hash_fn="ketama").get_node,
    }


def _case(name: str, node: Callable[[str], object]) -> Case:
    keys = names(KEYS, "user")

    def check() -> None:
        found = [node(key) for key in keys]
        spread = {each: found.count(each) for each in set(found)}
        expected = MANY if name.endswith("100_nodes") else NODES
        if len(spread) != expected or max(spread.values()) > 2.5 * KEYS / expected:
            raise BenchmarkError(f"{name} does not spread keys over {expected} nodes")
        if found != [node(key) for key in keys]:
            raise BenchmarkError(f"{name} gives a key another node when it is asked again")

    return Case(name, keyed(node, keys), check)


def _changes(report: Report, repeats: int) -> None:
    from escala import HashRing, Maglev, SlotMap

    nodes = addresses(MANY)
    ring, slots, maglev = HashRing(nodes, vnodes=VNODES), SlotMap(nodes), Maglev(nodes)
    cases: dict[str, Callable[[], object]] = {
        "hash_ring.add_node_100x512": lambda: ring.with_node("new"),
        "slot_map.add_node_100": lambda: slots.with_node("new"),
        "maglev.add_node_100": lambda: maglev.with_node("new"),
    }
    figures: dict[str, list[float]] = {name: [] for name in cases}
    theirs: list[float] = []
    for _ in range(repeats):
        for name, change in cases.items():
            start = time.process_time()
            change()
            figures[name].append((time.process_time() - start) * 1000)
        if "uhashring" not in report.absent:
            theirs.append(_peers_change(nodes))
    for name, values in figures.items():
        report.spread(f"{name}.ms", values)
    report.spread("peer.uhashring.add_node_100x512.ms", theirs)
    keys, more = names(KEYS, "user"), ring.with_node("new")
    moved = {more.node(key) for key in keys if more.node(key) != ring.node(key)}
    if moved != {"new"}:
        raise BenchmarkError(f"a node that joined moved keys to {moved}")


def _peers_change(nodes: list[str]) -> float:
    from uhashring import HashRing

    ring = HashRing(nodes, vnodes=VNODES, hash_fn=None)
    start = time.process_time()
    ring.add_node("new", {"vnodes": VNODES})
    return (time.process_time() - start) * 1000

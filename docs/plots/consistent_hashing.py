"""How even a ring is, and how many keys move when an eleventh node joins ten."""

from __future__ import annotations

from collections.abc import Callable

from docs.plots.drawing.figure import Figure
from escala import HashRing, Maglev, SlotMap, jump_hash
from escala.hashing.pure.digest import digest
from escala.hashing.pure.ring_points import points_of, ring

RINGS = 4  # over which the balance is averaged
KEYS = [f"user:{number}" for number in range(20_000)]
ELEVEN = [f"cache-{number}" for number in range(11)]
TEN = ELEVEN[:10]

Place = Callable[[str], object]


def draw(figure: Figure) -> None:
    """More points are more even; and all but the remainder move about what they must."""
    balance = figure.panel(
        "the fullest node", x="points a node (vnodes)", y="keys, times its share"
    )
    exponents = range(11)
    for nodes in (100, 10):
        fullest = [_fullest(nodes, 2**exponent) for exponent in exponents]
        balance.line(exponents, fullest, f"{nodes} nodes")
    balance.ticks = [(exponent, str(2**exponent)) for exponent in exponents[::3]]
    balance.height = (1, 5)
    moved = figure.panel("from 10 nodes to 11", x="", y="% of keys that move")
    places = _places()
    shares = [100 * _moved(*each) for each in places.values()]
    moved.bars(range(len(shares)), shares, "moved")
    moved.ticks = [(at, name) for at, name in enumerate(places)]
    moved.level(100 / 11, "what must move")


def _fullest(nodes: int, vnodes: int) -> float:
    """The largest share of the ring, times the number of nodes."""
    found = 0.0
    for seed in range(RINGS):
        points, owners = ring({name: points_of(name, vnodes, seed) for name in _names(nodes)})
        arcs = dict.fromkeys(owners, 0)
        before = points[-2] - 2**64  # the last arc goes over the end of the ring to the first
        for point, owner in zip(points[:-1], owners[:-1], strict=True):
            arcs[owner] += point - before
            before = point
        found += max(arcs.values()) / 2**64 * nodes
    return found / RINGS


def _names(nodes: int) -> list[str]:
    return [f"cache-{number}" for number in range(nodes)]


def _places() -> dict[str, tuple[Place, Place]]:
    """Where keys are before and after."""
    ring, slots = HashRing(TEN), SlotMap(TEN)
    return {
        "% n": (lambda key: digest(key.encode(), 0) % 10, lambda key: digest(key.encode(), 0) % 11),
        "Maglev": (Maglev(TEN).node, Maglev(ELEVEN).node),
        "ring": (ring.node, ring.with_node(ELEVEN[-1]).node),
        "jump": (lambda key: jump_hash(key, 10), lambda key: jump_hash(key, 11)),
        "slots": (slots.node, slots.with_node(ELEVEN[-1]).node),
    }


def _moved(before: Place, after: Place) -> float:
    return sum(before(key) != after(key) for key in KEYS) / len(KEYS)

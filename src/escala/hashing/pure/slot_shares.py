"""Who owns how many slots, and which of them move: as few as the new shares allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from escala.hashing.pure.members import whole


def shares(
    slots: int, weights: Mapping[str, float], held: Mapping[str, int], pinned: Mapping[str, int]
) -> dict[str, int]:
    """How many slots each node is to own.

    Its weight's share, rounded down or up. The ones that are left over by rounding down go to
    those that have them anyway, since then they need not move, and then to those with the larger
    fractions. A node that has more slots pinned than its share keeps them, and the others share
    the rest.
    """
    open_, wanted = whole(weights), dict[str, int]()
    while over := _over(open_, slots, pinned):
        for node in over:
            wanted[node] = pinned[node]
            slots -= pinned[node]
            del open_[node]
    total = sum(open_.values())
    fractions: dict[str, int] = {}
    for node, weight in open_.items():
        wanted[node], fractions[node] = divmod(weight * slots, total)
    spare = slots - sum(wanted[node] for node in open_)
    rounded = [node for node in open_ if fractions[node]]
    rounded.sort(key=lambda node: (held.get(node, 0) <= wanted[node], -fractions[node], node))
    for node in rounded[:spare]:
        wanted[node] += 1
    return wanted


def resettled(
    owners: Sequence[str],
    slots: int,
    weights: Mapping[str, float],
    pins: Mapping[int, str],
) -> tuple[str, ...]:
    """The owner of each slot after the nodes or their weights have changed.

    A slot moves when its node is gone, or has more than its share; then its last ones move, and
    the nodes that lack some take them in the order of their names. Of no owners, all are free.
    """
    before: list[str | None] = [*owners] if owners else [None] * slots
    for slot, node in pins.items():
        before[slot] = node
    held = Counter(node for node in before if node is not None and node in weights)
    wanted = shares(slots, weights, held, Counter(pins.values()))
    surplus = {node: held[node] - wanted[node] for node in weights}
    for slot in range(slots - 1, -1, -1):
        owner = before[slot]
        if owner is None or owner not in surplus:
            before[slot] = None
        elif surplus[owner] > 0 and slot not in pins:
            surplus[owner] -= 1
            before[slot] = None
    takers = _takers(surplus)
    return tuple(next(takers) if node is None else node for node in before)


def _over(open_: Mapping[str, int], slots: int, pinned: Mapping[str, int]) -> list[str]:
    """The nodes that have more slots pinned than their weight's share of what is left."""
    total = sum(open_.values())
    return [node for node, weight in open_.items() if pinned.get(node, 0) * total > weight * slots]


def _takers(surplus: Mapping[str, int]) -> Iterator[str]:
    return (node for node in sorted(surplus) for _ in range(-surplus[node]))

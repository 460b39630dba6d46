"""Where the nodes of a ring have their points, and who owns each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from escala.hashing.pure.digest import digest


def points_of(node: str, count: int, seed: int) -> list[int]:
    """The digests of "node#0", "node#1" and so on: a heavier node keeps those that it had."""
    name = node.encode()
    return [digest(b"%b#%d" % (name, number), seed) for number in range(count)]


def ring(placed: Iterable[tuple[str, Sequence[int]]]) -> tuple[list[int], list[str]]:
    """All points in ascending order, and the owner of each; the first again at the end.

    Where two nodes have the same point it belongs to the one that was placed first.
    """
    owner: dict[int, str] = {}
    for node, points in reversed(list(placed)):
        owner.update(dict.fromkeys(points, node))
    ascending = sorted(owner)
    owners = [owner[point] for point in ascending]
    owners.append(owners[0])
    return ascending, owners

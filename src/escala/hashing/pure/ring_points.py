"""Where the nodes of a ring have their points, and who owns each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from escala.hashing.pure.digest import digest

BEYOND = 2**64


def points_of(node: str, count: int, seed: int) -> list[int]:
    """The digests of "node#0", "node#1" and so on: a heavier node keeps those that it had."""
    name = node.encode()
    return [digest(b"%b#%d" % (name, number), seed) for number in range(count)]


def ring(
    placed: Mapping[str, Sequence[int]], before: Iterable[int] = ()
) -> tuple[list[int], list[str]]:
    """All points in ascending order, and the owner of each.

    At the end of both stand a point beyond all digests and the first owner, so that one who looks
    for the next point always finds it. Where two nodes have the same point it belongs to the one
    that was placed first. `before` may hold points of `placed` in ascending order: then there is
    less to sort.
    """
    owner = dict.fromkeys(before, "")
    for node, points in reversed(list(placed.items())):
        owner.update(dict.fromkeys(points, node))
    ascending = sorted(owner)
    owners = [owner[point] for point in ascending]
    ascending.append(BEYOND)
    owners.append(owners[0])
    return ascending, owners


def fingers(points: Sequence[int], bits: int) -> tuple[list[int], int]:
    """Where to begin to look: for each value of a digest's first bits the first point from there.

    And by how much to shift a digest of so many bits for that. There are one to two cells for each
    point, so few points have to be passed by.
    """
    shift = max(0, bits - len(points).bit_length())
    cells: list[int] = []
    for index, point in enumerate(points):
        if (lacking := (min(point, 2**bits - 1) >> shift) + 1 - len(cells)) > 0:
            cells += [index] * lacking
    return cells, shift

"""Slots as runs: what a map of thousands of them is written down as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

Runs = tuple[tuple[int, int], ...]


def runs(slots: Iterable[int]) -> Runs:
    """First and last of each run of slots, in order.

    >>> runs([7, 1, 2, 3])
    ((1, 3), (7, 7))
    """
    numbered = enumerate(sorted(set(slots)))
    grouped = groupby(numbered, lambda pair: pair[1] - pair[0])
    found = [[slot for _, slot in group] for _, group in grouped]
    return tuple((run[0], run[-1]) for run in found)


def members(spans: Iterable[tuple[int, int]]) -> list[int]:
    """The slots of some runs, in the order of the runs."""
    return [slot for first, last in spans for slot in range(first, last + 1)]


def packed(owners: Sequence[str]) -> list[tuple[int, str]]:
    """The first slot of each run of one owner, and who it is."""
    grouped = groupby(enumerate(owners), lambda pair: pair[1])
    return [(next(group)[0], owner) for owner, group in grouped]


def unpacked(firsts: Sequence[tuple[int, str]], slots: int) -> tuple[str, ...]:
    """What `packed` packed. Raises `ValueError` when these are no runs of so many slots."""
    owners: list[str] = []
    ends = [first for first, _ in firsts[1:]] + [slots]
    for (first, owner), end in zip(firsts, ends, strict=True):
        if first != len(owners) or not first < end <= slots:
            raise ValueError(f"expected runs in order, found one at slot {first}")
        owners += [owner] * (end - first)
    return tuple(owners)

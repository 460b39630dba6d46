"""A preference list that is spread over failure zones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def spread(order: Iterable[str], zones: Mapping[str, str], count: int) -> list[str]:
    """The first `count` nodes of `order`, taking one of each zone before a second of any.

    A node that has no zone is a zone of its own. Fewer nodes than `count` are all there are.
    """
    chosen: list[str] = []
    while order:
        taken: set[str] = set()
        passed: list[str] = []
        for node in order:
            zone = zones.get(node)
            if zone in taken:
                passed.append(node)
                continue
            chosen.append(node)
            if len(chosen) >= count:
                return chosen
            if zone is not None:
                taken.add(zone)
        order = passed
    return chosen

"""Which standby becomes the primary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Candidate(NamedTuple):
    """A standby that receives nothing any more, so what it has is all that it will have."""

    node: int
    name: str
    """Its `application_name`."""
    timeline: int
    """The highest that it has WAL of."""
    position: int
    """Bytes of WAL that it has received, replayed or not."""


class Election(NamedTuple):
    """The standby that has the most, or None with the `reason` why none may be promoted."""

    winner: Candidate | None
    reason: str


def elect(
    candidates: Sequence[Candidate], *, among: Collection[str] = (), needed: int = 0
) -> Election:
    """The most advanced one: the highest timeline, and of these the furthest in it.

    It has every acknowledged commit if `needed` of the standbys `among` whom commits are on are
    here (see `Durability`): each commit is on one of them, and WAL has no gaps. Fewer elect none.
    Of equals the first wins.
    """
    names = {each.lower() for each in among}
    present = {each.name.lower() for each in candidates} & names
    if len(present) < needed:
        missing = ", ".join(sorted(names - present))
        return Election(
            None,
            f"{needed} of the standbys that acknowledged commits are on have to be seen, and "
            f"{len(present)} are: commits may be on {missing} alone",
        )
    if not candidates:
        return Election(None, "no standby can be reached")
    return Election(max(candidates, key=lambda each: (each.timeline, each.position)), "")

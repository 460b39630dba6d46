"""Which targets share the traffic, and how much each group of them gets: priorities and zones."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import NamedTuple

OVERPROVISIONED = 1.4
"""A level covers all traffic until its healthy share is below 1/1.4, 71 %: it has that to spare."""


class Rank(enum.IntEnum):
    """How good a target looks; only those of the best rank there is are picked."""

    HEALTHY = 0
    STARTING = 1
    """Not known yet."""
    EJECTED = 2
    """Its checks pass, but its answers made it an outlier."""
    UNHEALTHY = 3


class Standing(NamedTuple):
    """What the plan must know of one target."""

    rank: Rank
    weight: int
    priority: int
    zone: str


class Group(NamedTuple):
    """Targets, by their places, that get this share of the calls."""

    share: float
    members: tuple[int, ...]


class Plan(NamedTuple):
    """The groups, whose shares add up to 1, or none at all; `panic` while ill ones are picked."""

    groups: tuple[Group, ...]
    panic: bool


class _Level(NamedTuple):
    known: list[int]
    up: list[int]
    up_weight: int
    known_weight: int

    @property
    def capacity(self) -> float:
        return OVERPROVISIONED * self.up_weight / self.known_weight


def plan(
    standings: Sequence[Standing],
    *,
    zone: str = "",
    panic: float = 0.0,
) -> Plan:
    """Spread the calls over the targets with these standings; O(n log n).

    - Only the best `Rank` is picked: starting targets while none is healthy, ejected ones while
      there is nothing better. When all are unhealthy none is picked; with `panic`, all are.
    - **Priorities**: the level with the lowest number takes all it can, which is its healthy
      share of weight times 1.4; the rest spills to the next level, and so on, as Envoy does it.
    - **Panic**: a level whose healthy share is below `panic`, where the other levels cannot take
      all the traffic, is picked from whole: so few would only fall too. Targets that are not
      known yet say nothing about a share. Zero never panics.
    - **Zones**: each zone of a level is taken to have as many callers as any other. If the weight
      that is up in `zone` is a full share of the level's, calls stay there; if it is less, the
      rest goes to zones that have more than a full share, in proportion to what they have over.
    """
    best = min((each.rank for each in standings), default=Rank.UNHEALTHY)
    if best is Rank.UNHEALTHY:
        if not panic or not standings:
            return Plan((), panic=False)
        return Plan((Group(1.0, tuple(range(len(standings)))),), panic=True)
    levels = _levels(standings, best)
    capacities = [level.capacity for level in levels]
    shares = _shares(capacities)
    groups: list[Group] = []
    panics = False
    for at, level in enumerate(levels):
        others = sum(capacities[:at] + capacities[at + 1 :])
        if others < 1 and level.up_weight < panic * level.known_weight:
            panics = panics or shares[at] > 0
            parts = [Group(1.0, tuple(level.known))]
        else:
            parts = list(_by_zone(standings, level, zone))
        groups += [Group(shares[at] * part.share, part.members) for part in parts]
    return Plan(tuple(group for group in groups if group.share > 0), panics)


def _levels(standings: Sequence[Standing], best: Rank) -> list[_Level]:
    """The levels of which something is known, the first to be used first."""
    found: dict[int, list[int]] = {}
    for at, each in enumerate(standings):
        if each.rank is best or each.rank is not Rank.STARTING:
            found.setdefault(each.priority, []).append(at)
    levels = []
    for _, known in sorted(found.items()):
        up = [at for at in known if standings[at].rank is best]
        weights = [sum(standings[at].weight for at in part) for part in (up, known)]
        levels.append(_Level(known, up, *weights))
    return levels


def _shares(capacities: Sequence[float]) -> list[float]:
    left, shares = 1.0, []
    for capacity in capacities:
        shares.append(min(left, capacity))
        left -= shares[-1]
    total = sum(shares)
    return [share / total for share in shares]


def _by_zone(standings: Sequence[Standing], level: _Level, zone: str) -> Iterator[Group]:
    zones = {standings[at].zone for at in level.known}
    if zone not in zones or len(zones) == 1:
        yield Group(1.0, tuple(level.up))
        return
    members: dict[str, list[int]] = {}
    for at in level.up:
        members.setdefault(standings[at].zone, []).append(at)
    weights = {name: sum(standings[at].weight for at in each) for name, each in members.items()}
    full = level.up_weight / len(zones)
    local = min(1.0, weights.get(zone, 0) / full) if full else 0.0
    over = {name: max(0.0, weight - full) for name, weight in weights.items() if name != zone}
    surplus = sum(over.values())
    for name, each in members.items():
        share = local if name == zone else (1.0 - local) * over[name] / surplus if surplus else 0.0
        yield Group(share, tuple(each))

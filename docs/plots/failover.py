"""How often a failover loses what was acknowledged, by whom it promotes and how many it sees."""

from __future__ import annotations

import random

from docs.plots.drawing.figure import Figure
from escala.databases.pure.durability import SyncSettings, judge
from escala.databases.pure.election import Candidate, elect

NAMES = ("n1", "n2", "n3", "n4")
FAILOVERS = 4_000


def draw(figure: Figure) -> None:
    """Lost are commits that only standbys have that are not there, or were not chosen."""
    for copies in (1, 2):
        setting = f"ANY {copies} ({', '.join(NAMES)})"
        panel = figure.panel(setting, x="standbys that are seen", y="% of failovers that lose some")
        seen = range(1, len(NAMES) + 1)
        lost = [_lost(setting, copies, count) for count in seen]
        for nth, label in enumerate(("any of them", "the most advanced", "db.failover()")):
            panel.line(seen, [each[nth] for each in lost], label)
        panel.ticks = [(float(count), str(count)) for count in seen]
        panel.height = (0, 100)


def _lost(setting: str, copies: int, seen: int) -> tuple[float, float, float]:
    rng = random.Random(1)
    promise = judge(SyncSettings(setting, "on", "n0"), NAMES)
    anyone = most = chosen = 0
    for _ in range(FAILOVERS):
        # How far each standby has come when the primary is lost; a commit needs `copies` of them.
        has = [1_000 - round(rng.expovariate(0.1)) for _ in NAMES]
        acknowledged = sorted(has)[-copies]
        nodes = rng.sample(range(len(NAMES)), seen)
        candidates = [Candidate(node, NAMES[node], 1, has[node]) for node in nodes]
        anyone += candidates[0].position < acknowledged
        most += max(has[node] for node in nodes) < acknowledged
        found = elect(candidates, among=promise.among, needed=promise.needed).winner
        chosen += found is not None and found.position < acknowledged
    return 100 * anyone / FAILOVERS, 100 * most / FAILOVERS, 100 * chosen / FAILOVERS

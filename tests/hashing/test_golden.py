"""Places that never change: whoever changes one of these re-routes somebody's keys."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

from escala.hashing import HashRing, Maglev, Rendezvous, SlotMap, jump_hash
from escala.hashing.snapshot import Snapshot

NODES = {"alpha": 1, "beta": 2, "gamma": 1, "delta": 1}
KEYS = ["", "user:1", "user:2", "user:3", "user:4", "user:5", "käse", "日本", "x" * 300]

PLACES = {
    "ring": "beta gamma delta beta beta gamma gamma delta delta",
    "seeded": "delta delta beta beta alpha alpha alpha delta beta",
    "ketama": "beta beta beta beta beta delta alpha beta beta",
    "slots": "beta beta beta gamma beta beta beta beta gamma",
    "grown": "delta delta gamma beta gamma gamma gamma gamma delta",
    "redis": "alpha delta beta alpha gamma delta beta delta delta",
    "maglev": "beta alpha alpha alpha beta beta alpha beta gamma",
    "rendezvous": "beta gamma gamma gamma alpha gamma delta beta gamma",
    "even": "beta gamma gamma gamma alpha gamma delta delta gamma",
}


@functools.cache
def maps() -> dict[str, Snapshot]:
    grown = SlotMap(["alpha", "beta"]).with_node("gamma").with_node("delta")
    return {
        "ring": HashRing(NODES),
        "seeded": HashRing(NODES, seed=42, vnodes=100),
        "ketama": HashRing(NODES, hash="ketama"),
        "slots": SlotMap(NODES),
        "grown": grown.with_weight("beta", 2),
        "redis": SlotMap(NODES, hash="redis"),
        "maglev": Maglev(NODES),
        "rendezvous": Rendezvous(NODES),
        "even": Rendezvous(list(NODES)),
    }


@pytest.mark.parametrize("name", PLACES)
def test_keys_are_where_they_always_were(name: str) -> None:
    assert [maps()[name].node(key) for key in KEYS] == PLACES[name].split()


def test_slots_and_buckets_are_what_they_always_were() -> None:
    slots = SlotMap(["a"])
    assert list(map(slots.slot, KEYS)) == [
        *(5314, 5377, 7170, 14343, 6922, 6909, 8113, 7104, 13652),
    ]
    redis = SlotMap(["a"], hash="redis")
    assert list(map(redis.slot, KEYS)) == [
        *(0, 10778, 6777, 2648, 15039, 10910, 7438, 10949, 11216),
    ]
    assert [jump_hash(key, 10) for key in KEYS] == [0, 1, 9, 7, 8, 3, 5, 1, 5]


SCRIPT = """
import sys
{before}
from escala import hashing
from escala.hashing.pure.digest import digest
print(digest.__name__)
for kind, text in {maps!r}:
    made = getattr(hashing, kind).from_json(text)
    print(*map(made.node, {keys!r}))
print(*map(hashing.SlotMap({nodes!r}).node, {keys!r}))
print(*map(hashing.HashRing({nodes!r}).node, {keys!r}))
"""


@pytest.mark.parametrize("package", [True, False], ids=["xxhash", "without"])
def test_another_process_agrees_with_or_without_the_package(package: bool) -> None:
    made = maps()
    script = SCRIPT.format(
        before="" if package else "sys.modules['xxhash'] = None",
        maps=[(type(each).__name__, each.to_json()) for each in made.values()],
        keys=KEYS,
        nodes=NODES,
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONHASHSEED": "12345" if package else "54321"},
    )
    function, *lines = ran.stdout.splitlines()
    assert function == ("xxh3_64_intdigest" if package else "xxh3")
    assert lines == [*PLACES.values(), PLACES["slots"], PLACES["ring"]]

"""How many keys move when a shard is added, and how full the fullest shard is."""

from __future__ import annotations

from docs.plots.drawing.figure import Figure
from escala import ShardMap
from escala.databases.pure.postgres_hash import hash_int8

KEYS = range(20_000)
SIZES = [1 / (1 + number) for number in range(2_000)]  # tenants, the largest first
SHARDS = 8


def draw(figure: Figure) -> None:
    """Slots move what they must; and no hash makes a large tenant small."""
    moved = figure.panel("a shard is added", x="shards before", y="% of keys that move")
    counts = range(2, 17)
    moved.line(counts, [_by_remainder(count) for count in counts], "hash % shards")
    moved.line(counts, [_by_slots(count) for count in counts], "4,096 slots")
    moved.line(counts, [100 / (count + 1) for count in counts], "what must move")
    full = figure.panel("8 shards", x="slots", y="the fullest shard, times its share")
    exponents = range(4, 15)
    full.line(exponents, [_fullest([1.0] * 2_000, 2**each) for each in exponents], "equal tenants")
    full.line(exponents, [_fullest(SIZES, 2**each) for each in exponents], "tenants by Zipf")
    pinned = [_fullest(SIZES, 2**each, pins=16) for each in exponents]
    full.line(exponents, pinned, "and 16 of them pinned")
    full.ticks = [(exponent, str(2**exponent)) for exponent in exponents[::2]]
    full.height = (1, 3)


def _names(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


def _by_remainder(count: int) -> float:
    hashes = [hash_int8(key) for key in KEYS]
    return 100 * sum(each % count != each % (count + 1) for each in hashes) / len(KEYS)


def _by_slots(count: int) -> float:
    old = ShardMap.slots(_names(count), key="id")
    new = old.with_shards(_names(count + 1))
    return 100 * sum(old.shard(key) != new.shard(key) for key in KEYS) / len(KEYS)


def _fullest(sizes: list[float], slots: int, pins: int = 0) -> float:
    shards = ShardMap.slots(_names(SHARDS), key="tenant_id", slots=slots)
    load = dict.fromkeys(_names(SHARDS), 0.0)
    placed = [shards.shard(tenant) for tenant in range(len(sizes))]
    for tenant in range(pins, len(sizes)):
        load[placed[tenant]] += sizes[tenant]
    for tenant in range(pins):  # the largest first, each to the shard that has least
        shard = min(load, key=load.__getitem__)
        load[shard] += sizes[tenant]
    return max(load.values()) * SHARDS / sum(sizes)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.databases.test_ids import in_child

from escala.databases import HotKeys, KeyHot, ShardHot
from escala.errors import ConfigError
from escala.kernel.events import Event, subscribe
from escala.testing import VirtualRuntime


@pytest.fixture
def told() -> Iterator[list[Any]]:
    events: list[Event] = []
    stops = [subscribe(kind, events.append) for kind in (KeyHot, ShardHot)]
    yield events
    for stop in stops:
        stop()


def test_a_hot_key_and_its_shard_are_told_of_once(told: list[Any]) -> None:
    world = VirtualRuntime()
    hot = HotKeys(share="20%", name="orders")

    async def main() -> None:
        for number in range(2000):
            hot.hit("acme" if number % 2 else f"t{number}", f"s{1 if number % 2 else number % 5}")
            world.advance(0.001)

    world.run(main())
    assert [type(event) for event in told] == [KeyHot, ShardHot]
    key, shard = told
    assert (key.key, key.shard, key.name) == ("acme", "s1", "orders")
    assert key.share == pytest.approx(0.5, abs=0.02)
    assert 0 < key.at < 1
    assert (shard.shard, shard.name) == ("s1", "orders")
    assert dict(hot.keys(1)) == pytest.approx({"acme": 0.5}, abs=0.01)
    assert next(iter(hot.shards())) == "s1"
    assert len(hot.keys()) == 10


def test_a_key_that_cools_is_told_of_again(told: list[Any]) -> None:
    world = VirtualRuntime()
    hot = HotKeys(share=0.3, half_life="1s", least=10, imbalance=1.9)

    async def main() -> None:
        for minute in range(3):
            for number in range(100):
                hot.hit("acme", f"s{number % 2}")
            for number in range(3000):
                hot.hit(f"t{minute}-{number}", f"s{number % 2}")
                world.advance(0.02)

    world.run(main())
    assert [event.key for event in told] == ["acme"] * 3


def test_it_forgets_in_a_forked_child() -> None:
    hot = HotKeys()
    hot.hit("acme", "s0")
    with hot._lock:
        assert in_child(lambda: str(hot.keys())) == "[]"
    assert hot.keys() == [("acme", 1.0)]


def test_threads_share_one() -> None:
    hot = HotKeys(capacity=8)

    def hit(name: str) -> None:
        for number in range(3000):
            hot.hit(name if number % 2 else number, name)

    threads = [threading.Thread(target=hit, args=(f"s{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(hot.shards().values()) == pytest.approx(1)
    assert {key for key, _ in hot.keys(3)} == {"s0", "s1", "s2"}


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: HotKeys(share=0), "HotKeys: share: expected a share above 0"),
        (lambda: HotKeys(share=1.2), "HotKeys: share"),
        (lambda: HotKeys(half_life=0), "HotKeys: half_life"),
        (lambda: HotKeys(imbalance=1), "HotKeys: imbalance"),
        (lambda: HotKeys(capacity=7), "HotKeys: capacity"),
        (lambda: HotKeys(least=0), "HotKeys: least"),
    ],
    ids=["share", "large-share", "half-life", "imbalance", "capacity", "least"],
)
def test_bad_arguments(build: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build()

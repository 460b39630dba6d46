"""The second level in memory, in virtual time: an hour passes in no time."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from escala.caching.memory_values import MemoryValues, _tables
from escala.caching.pure.blob import Header, Mark, pack
from escala.caching.value_store import Found, Put, Signal, ValueStore, open_value_store
from escala.errors import ConfigError
from escala.kernel.runtime import Runtime, colours, drive
from escala.testing import VirtualRuntime

both_colours = pytest.mark.parametrize("colour", ["thread", "loop"])


@pytest.fixture
def world() -> Iterator[VirtualRuntime]:
    virtual = VirtualRuntime()
    yield virtual
    virtual.close()


@pytest.fixture
def one() -> ValueStore:
    return open_value_store("memory://here", "c", "a1")


def blob_of(key: str, mark: Mark, fresh: float) -> bytes:
    return pack(key, Header(mark, fresh, fresh, 0.1, (), negative=False), b"value")


@both_colours
def test_an_hour_passes(world: VirtualRuntime, one: ValueStore, colour: str) -> None:
    async def main() -> None:
        on: Runtime = getattr(colours, colour)

        async def read() -> Found:
            return (await one.read(["ann"], 60.0, on))[0]

        first = await read()
        assert first.token is not None
        await on.sleep(59.0)
        assert (await read()).wait == pytest.approx(1.0)
        blob = blob_of("ann", first.mark, fresh=3600.0)
        assert await one.store([Put("ann", first.token, blob, 7200.0)], on) == [True]
        await on.sleep(3540.0)
        assert (await read()).token is None
        await on.sleep(2.0)
        stale = await read()
        assert stale.blob == blob
        assert stale.token is not None
        await on.sleep(3600.0)
        assert (await read()).blob is None
        await one.invalidate([Signal("key", "ann")], on, hold=10.0)
        await on.sleep(9.9)
        assert (await read()).token is None
        await on.sleep(0.2)
        assert (await read()).token is not None

    world.run(main())


@both_colours
def test_what_is_over_goes_as_new_keys_come(
    world: VirtualRuntime, one: MemoryValues, colour: str
) -> None:
    async def main() -> None:
        on: Runtime = getattr(colours, colour)
        for nth in range(1000):
            await one.read([f"k{nth}"], 5.0, on)
            await on.sleep(1.0)

    world.run(main())
    assert len(one._table.slots) < 20


def test_stores_of_one_name_share_what_they_keep_as_long_as_there_are_any() -> None:
    gc.collect()  # what other tests have left
    before = len(_tables)
    one, two = (open_value_store("memory://shared", "c", writer) for writer in "ab")
    other = open_value_store("memory://other", "c", "a")
    assert isinstance(one, MemoryValues)
    assert isinstance(two, MemoryValues)
    assert isinstance(other, MemoryValues)
    assert one._table is two._table
    assert other._table is not one._table
    del one, two, other
    gc.collect()
    assert len(_tables) == before


def test_a_forked_child_has_what_was_kept_and_a_lock_of_its_own(one: MemoryValues) -> None:
    held, done = threading.Event(), threading.Event()

    def step() -> None:
        with one._table.lock:
            held.set()
            done.wait(0.02)

    async def look() -> Found:
        return (await one.read(["ann"], 5.0, colours.thread))[0]

    theirs = drive(look())
    thread = threading.Thread(target=step)
    thread.start()
    held.wait(5.0)
    child = os.fork()
    if child == 0:
        os._exit(0 if drive(look()).token else 1)  # who had the lease is not here
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert theirs.token is not None


@pytest.mark.parametrize("url", ["memory://", "memory:///a", "memory://a/b", "memory://a?b=1"])
def test_its_name_is_checked(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^orders: l2: expected a name such as 'memory://"):
        open_value_store(url, "orders", "a1")


def test_what_no_one_keeps_values_behind_is_refused() -> None:
    with pytest.raises(ConfigError, match="orders: l2: expected a URL such as"):
        open_value_store("s3cret", "orders", "a1")
    with pytest.raises(ConfigError, match="orders: l2: expected one of the value_stores memory"):
        open_value_store("floppy://a", "orders", "a1")

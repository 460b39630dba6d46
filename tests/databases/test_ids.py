from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from escala import Snowflake, uuid7
from escala.databases.uuid_v7 import Uuid7Source
from escala.errors import ClockWentBack, ConfigError, WouldBlock
from escala.testing import VirtualRuntime

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


class WallClock:
    """The wall clock of virtual time, which someone may set."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self.offset = now, datetime(2026, 5, 1, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self._now() + self.offset


def test_ids_grow_and_say_when_and_where() -> None:
    world = VirtualRuntime()
    clock = WallClock(world.now)
    ids = Snowflake(node=77, clock=clock)

    async def main() -> None:
        world.advance(1)
        taken = [ids.next() for _ in range(5)]
        world.advance(0.25)
        taken.append(ids.next())
        assert taken == sorted({*taken})
        assert all(0 < each < 2**63 for each in taken)
        first, last = ids.decode(taken[0]), ids.decode(taken[-1])
        assert first == (datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=1), 77, 0)
        assert ids.decode(taken[4]).sequence == 4
        assert last.at - first.at == timedelta(milliseconds=250)

    world.run(main())


def test_a_clock_set_back_a_little_is_waited_for_in_both_colours() -> None:
    world = VirtualRuntime()
    clock = WallClock(world.now)
    ids = Snowflake(node=1, clock=clock)

    async def main() -> None:
        world.advance(1)
        first = ids.next()
        clock.offset -= 0.2
        began = world.now()
        second = await ids.anext()
        assert world.now() - began == pytest.approx(0.2, abs=0.002)
        clock.offset -= 0.2
        third = ids.next()
        assert world.now() - began == pytest.approx(0.4, abs=0.004)
        assert first < second < third
        clock.offset -= 0.3
        for _ in range(2):
            with pytest.raises(ClockWentBack, match="300 ms behind"):
                ids.next()
        with pytest.raises(ClockWentBack):
            await ids.anext()
        clock.offset += 0.3
        assert ids.next() > third

    world.run(main())


def test_a_limit_of_ones_own() -> None:
    world = VirtualRuntime()
    clock = WallClock(world.now)
    ids = Snowflake(node=1, clock=clock, max_back="2s")

    async def main() -> None:
        began = world.now()
        first = await ids.anext()  # after all that a process before it may have given
        assert world.now() - began == pytest.approx(2, abs=0.002)
        clock.offset -= 1.9
        assert await ids.anext() > first

    world.run(main())


def test_in_a_real_event_loop_the_plain_call_does_not_wait() -> None:
    async def main() -> None:
        ids = Snowflake(node=1)
        with pytest.raises(WouldBlock):
            ids.next()
        assert await Snowflake(node=1, max_back=0.001).anext() > 0

    asyncio.run(main())


def test_threads_share_one() -> None:
    ids = Snowflake(node=1, max_back=0)

    def take(_: int) -> list[int]:
        return [ids.next() for _ in range(4000)]

    with ThreadPoolExecutor(4) as pool:
        each = [*pool.map(take, range(4))]
    for taken in each:
        assert all(a < b for a, b in pairwise(taken))
    assert len({id_ for taken in each for id_ in taken}) == 16_000


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Snowflake(node=-1), "from 0 to 1023, found -1"),
        (lambda: Snowflake(node=1024), "from 0 to 1023, found 1024"),
        (lambda: Snowflake(node=True), "found True"),
        (lambda: Snowflake(node=1, epoch=EPOCH.replace(tzinfo=None)), "with its zone"),
        (lambda: Snowflake(node=1, epoch="2025"), "with its zone"),  # type: ignore[arg-type]
        (lambda: Snowflake(node=1, epoch=datetime(2999, 1, 1, tzinfo=UTC)), "a time that has been"),
        (lambda: Snowflake(node=1, max_back="soon"), "max_back: expected a duration"),
    ],
    ids=["small", "large", "bool", "naive", "text", "future", "duration"],
)
def test_bad_arguments(build: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build()


def test_the_bounds_are_allowed() -> None:
    assert repr(Snowflake(node=0)) == "Snowflake(node=0)"
    epoch = datetime(1990, 1, 1, tzinfo=UTC)
    ids = Snowflake(node=1023, epoch=epoch, max_back=0)
    assert ids.decode(ids.next()).node == 1023
    assert abs(ids.decode(ids.next()).at - datetime.now(UTC)) < timedelta(minutes=1)  # noqa: TID251


def in_child(call: Callable[[], str]) -> str:
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(write, call().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        answer = told.read()
    os.waitpid(child, 0)
    return answer


def test_a_forked_child_gives_no_ids_of_its_parents() -> None:
    ids = Snowflake(node=9, max_back=0)
    ids.next()

    def ask() -> str:
        try:
            return str(ids.next())
        except ConfigError as error:
            return str(error)

    with ids._lock:  # another thread of the parent may be in the middle
        assert "forked from the one that has node 9" in in_child(ask)
    assert ids.next() > 0
    before = uuid7()
    childs = UUID(in_child(lambda: str(uuid7())))
    assert before < childs
    assert childs != uuid7()


def test_uuids_grow_over_threads_and_a_clock_set_back() -> None:
    times = iter([1.0, 1.0, 0.5, 2.0])
    source = Uuid7Source(lambda: next(times), lambda size: b"\xff" * size)
    made = [source.next() for _ in range(4)]
    assert made == sorted({*made})
    assert [each.int >> 80 for each in made] == [1000, 1000, 1000, 2000]
    assert made[0].int & (2**32 - 1) == 2**32 - 1

    taken: list[list[str]] = []

    def take() -> None:
        taken.append([str(uuid7()) for _ in range(2000)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == sorted(each) for each in taken)
    assert len({text for each in taken for text in each}) == 8000
